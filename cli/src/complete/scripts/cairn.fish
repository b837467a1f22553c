# Completes cairn in fish: what may follow is asked of cairn itself.
function __cairn_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines
    set -l known yes
    type -q $words[1]
    and set lines ($words[1] __complete fish $words 2>/dev/null)
    or set known no
    if test $known = no
        # A cairn that is not there, or not this one: its commands are better than nothing.
        if test (count $words) -eq 2
            printf '%s\n' (string split ' ' '@COMMANDS@')
        end
        return
    end
    switch "$lines[1]"
        case :files :dirs
            set -l token (commandline -ct)
            set -l parts (string match -r '^(--[^=]*=)(.*)$' -- $token)
            if test (count $parts) -eq 3
                for path in (__fish_complete_path $parts[3])
                    echo $parts[2]$path
                end
            else
                __fish_complete_path $token
            end
        case '*'
            printf '%s\n' $lines
    end
end
complete -c cairn -f -k -a '(__cairn_complete)'
