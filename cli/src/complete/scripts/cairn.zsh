#compdef cairn
# Completes cairn in zsh: what may follow is asked of cairn itself.
_cairn() {
    local -a typed lines values shown
    local line width=0
    typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    if ! lines=("${(@f)$("${(Q)words[1]}" __complete zsh "${(@)typed}" 2>/dev/null)}"); then
        # A cairn that is not there, or not this one: its commands are better than nothing.
        ((CURRENT == 2)) && compadd -- @COMMANDS@
        return
    fi
    case ${lines[1]-} in
        :files | :dirs)
            [[ $PREFIX == --*=* ]] && compset -P '*='
            if [[ $lines[1] == :dirs ]]; then _files -/; else _files; fi
            return
            ;;
    esac
    for line in "${(@)lines}"; do
        [[ -n $line ]] || continue
        values+=("${line%%$'\t'*}")
        ((width < ${#values[-1]})) && width=${#values[-1]}
    done
    ((${#values})) || return 1
    for line in "${(@)lines}"; do
        [[ -n $line ]] || continue
        shown+=("${(r:width:)${line%%$'\t'*}}  ${line#*$'\t'}")
    done
    compadd -l -V cairn -d shown -a -- values
}
if [[ ${funcstack[1]-} == _cairn ]]; then
    _cairn "$@"
else
    compdef _cairn cairn
fi
