# Completes cairn in bash (4.4 or newer): what may follow is asked of cairn itself.
_cairn() {
    local IFS=$' \t\n' program=${1/#\~\//$HOME/} rest=${COMP_LINE:0:COMP_POINT}
    local word trimmed line i
    local -a words=() lines=()
    # bash breaks words at : @ and = too. What no blank stands between is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        trimmed=${rest#"${rest%%[![:blank:]]*}"}
        ((i < COMP_CWORD)) && word=${COMP_WORDS[i]} || word=$trimmed
        if ((i == 0)) || [[ $trimmed != "$rest" ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${trimmed#"$word"}
    done
    local current=${words[${#words[@]} - 1]}
    COMPREPLY=()
    if ! mapfile -t lines < <("$program" __complete bash "${words[@]}" 2>/dev/null || echo :none); then
        return 0
    fi
    case ${lines[0]-} in
    :none)
        # A cairn that is not there, or not this one: its commands are better than nothing.
        ((${#words[@]} == 2)) && mapfile -t COMPREPLY < <(compgen -W "@COMMANDS@" -- "$2")
        return 0
        ;;
    :files)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$2")
        return 0
        ;;
    :dirs)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$2")
        return 0
        ;;
    esac
    # bash puts the answer in the place of what follows the last break, which is $2.
    local before=${current%"$2"}
    for line in "${lines[@]}"; do
        line=${line%%$'\t'*}
        COMPREPLY+=("${line#"$before"}")
    done
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -o nosort -F _cairn cairn
