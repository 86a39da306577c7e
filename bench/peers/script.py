"""What a tutorial gives whoever wants a button to call a web API: gpiozero, requests, and the call in a callback."""

import os
from signal import pause

import requests
from gpiozero import Button

URL = os.environ["URL"]
KEY = os.environ["KEY"]


def close_session() -> None:
    """Close the session."""
    response = requests.patch(URL, headers={"api_key": KEY}, timeout=10)
    print(response.status_code)


button = Button(17)
button.when_pressed = close_session
pause()
