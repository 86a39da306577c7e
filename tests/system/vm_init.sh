#!/bin/busybox sh
# vm_init.sh: the virtual machine's first program. Sees to what a Pi has and Debian has not, then hands over to systemd.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    insmod "$module"
done

# The lines of a Pi's header. They are moved and watched through /sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpioN/.
mount -t configfs configfs /sys/kernel/config
mkdir -p /sys/kernel/config/gpio-sim/header/bank
echo 28 >/sys/kernel/config/gpio-sim/header/bank/num_lines
echo 1 >/sys/kernel/config/gpio-sim/header/live

# Its network is QEMU's own: 10.0.2.2 is the host's loopback, and without a route there is nothing else.
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up

until [ -b /dev/vda ]; do
    usleep 10000
done
mount -t ext4 /dev/vda /root || exec sh
# The chips belong to the group gpio, as a udev rule of Raspberry Pi OS has it.
chown "0:$(sed -n 's/^gpio:[^:]*:\([0-9]*\):.*/\1/p' /root/etc/group)" /dev/gpiochip*
chmod 660 /dev/gpiochip*
for folder in proc sys dev; do
    mount --move "/$folder" "/root/$folder"
done
exec switch_root /root /sbin/init
