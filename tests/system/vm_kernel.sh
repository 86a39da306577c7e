#!/bin/sh
# vm_kernel.sh FOLDER: in a Debian container, fetches Debian's kernel and builds gpio-sim for it, which Debian leaves out.
# Leaves in FOLDER: vmlinuz, busybox, and modules/NN-NAME.ko, in the order in which they must be loaded.
set -eu

folder=$1
apt-get update -qq
apt-get install -qq --no-install-recommends gcc make xz-utils kmod busybox-static linux-headers-amd64 linux-source
image=$(apt-cache depends --no-recommends --no-suggests linux-image-amd64 | sed -n 's/^ *Depends: //p')
version=${image#linux-image-}

mkdir -p /root/build
cd /root/build
apt-get download -qq "$image"
dpkg-deb --extract "$image"_*.deb kernel
mkdir module
tar --extract --file "$(echo /usr/src/linux-source-*.tar.xz)" --strip-components=3 --directory module --wildcards \
    '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c'
# irq_sim, which gpio-sim needs, is not made to be a module: it has no licence line, and uses what only the kernel itself may.
sed -i 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/' module/irq_sim.c
printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >>module/irq_sim.c
echo 'obj-m := irq_sim.o gpio-sim.o' >module/Makefile
make --silent -C "/usr/src/linux-headers-$version" M="$PWD/module" modules

depmod --basedir kernel "$version"
mkdir "$folder/modules"
number=10
for path in $(modprobe --dirname kernel --set-version "$version" --show-depends --all \
    virtio_pci virtio_blk virtio_net crc32c_generic ext4 configfs | sed -n 's/^insmod //p' | awk '!seen[$0]++') \
    module/irq_sim.ko module/gpio-sim.ko; do
    cp "$path" "$folder/modules/$number-${path##*/}"
    number=$((number + 1))
done
strip --strip-debug "$folder"/modules/*.ko
cp "kernel/boot/vmlinuz-$version" "$folder/vmlinuz"
cp /bin/busybox "$folder/busybox"
echo "$version" >"$folder/version"
