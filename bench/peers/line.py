"""What lgpio costs by itself: a line is claimed, as rufusd claims its inputs; line.py PAUSE reads it, too, so often."""

import signal
import sys
import time

import lgpio

chip = lgpio.gpiochip_open(0)
lgpio.gpio_claim_input(chip, 17, lgpio.SET_PULL_UP)
while sys.argv[1:]:
    lgpio.gpio_read(chip, 17)
    time.sleep(float(sys.argv[1]))
signal.pause()
