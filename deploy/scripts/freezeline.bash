# freezeline.bash - completion for bash: what may follow is asked of the program itself
_freezeline() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help=words 2>/dev/null) --help --version" -- "$word")
    elif [ "$before" = -c ] || [ "$before" = --config ]; then
        mapfile -t COMPREPLY < <(compgen -f -X '!*.y*ml' -- "$word"; compgen -d -S / -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help=words 2>/dev/null)" -- "$word")
    fi
    [[ ${COMPREPLY[0]-} != *[=/] ]] || compopt -o nospace 2>/dev/null || :
}
complete -o default -F _freezeline freezeline
