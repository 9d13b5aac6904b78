# freezeline.bash - completion for bash: what may follow is asked of the program itself
_freezeline_told() { # WAY [-c FILE]
    "${COMP_WORDS[0]}" "${COMP_WORDS[1]}" "${@:2}" "--help=$1" 2>/dev/null
}
_freezeline_operands() { # WORD
    local i word config=()
    for ((i = 2; i + 1 < ${#COMP_WORDS[@]}; i++)); do
        case ${COMP_WORDS[i]} in -c | --config) config=(-c "${COMP_WORDS[i + 1]}") ;; esac
    done
    while read -r word; do
        case $word in
        \*.*) compgen -f -X "!$word" -- "$1" && true; compgen -d -S / -- "$1" ;;
        *) compgen -W "$word" -- "$1" ;;
        esac
    done < <(_freezeline_told operands "${config[@]}")
}
_freezeline() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help=words 2>/dev/null) --help --version" -- "$word")
    elif [ "$before" = -c ] || [ "$before" = --config ]; then
        mapfile -t COMPREPLY < <(compgen -f -X '!*.y*ml' -- "$word"; compgen -d -S / -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_freezeline_told words)" -- "$word")
    elif [[ $before != -* ]] || ! _freezeline_told words | grep -qxF -e "$before="; then
        mapfile -t COMPREPLY < <(_freezeline_operands "$word")
    fi
    [[ ${COMPREPLY[0]-} != *[=/] ]] || compopt -o nospace 2>/dev/null || :
}
complete -o default -F _freezeline freezeline
