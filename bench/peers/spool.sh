#!/bin/sh
# spool.sh FOLDER URL SECONDS: what a shell gives whoever wants no close to be lost. Each close is a file named by its token;
# a loop sends what is there, and looks again after so many seconds. The key is in $KEY.
cd "$1" || exit
while :; do
    for close in *.close; do
        [ -e "$close" ] || continue
        curl --silent --fail --max-time 10 --request PATCH --header "api_key: $KEY" "$2/sessions/close/${close%.close}" \
            >/dev/null && mv "$close" "${close%.close}.closed"
    done
    sleep "$3"
done
