# bash completion for rufusd; written by docs/manual.py
_rufusd() {
    local word=${COMP_WORDS[COMP_CWORD]} words=
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --state-dir | --runtime-dir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    esac
    case $COMP_CWORD:${COMP_WORDS[1]} in
    1:*) words="run configure check status watch doctor close withdraw retry simulate sandbox demo --help --version" ;;
    *:run) words="--config --state-dir --runtime-dir --help" ;;
    *:configure) words="--config --help" ;;
    *:check) words="--config --state-dir --help" ;;
    *:status) words="--config --state-dir --runtime-dir --json --help" ;;
    *:watch) words="--runtime-dir --help" ;;
    *:doctor) words="--config --state-dir --runtime-dir --json --help" ;;
    *:close) words="--config --state-dir --runtime-dir --reason --help" ;;
    *:withdraw) words="--config --state-dir --runtime-dir --help" ;;
    *:retry) words="--config --state-dir --runtime-dir --help" ;;
    *:simulate) words="--config --state-dir --runtime-dir --help" ;;
    *:sandbox) words="--port --help" ;;
    *:demo) words="--help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o filenames -F _rufusd rufusd
