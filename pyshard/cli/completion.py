"""The subcommand `completion`: a script that has a shell complete the command, and asks click what there is.

The scripts are ours. With click's own, zsh replaces ``--option=`` by the value, bash loses its place at a word with a
":" or "=", and fish cuts descriptions at a comma.
"""

from __future__ import annotations

import click

from pyshard.cli.common_options import refuse_outer
from pyshard.cli.standard_output import put_lines

#: The shells, each with the line that uses the script.
SHELLS = {
    "bash": 'eval "$(pyshard completion bash)"   # in ~/.bashrc; bash 4.4 or later',
    "zsh": 'eval "$(pyshard completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "pyshard completion fish > ~/.config/fish/completions/pyshard.fish",
}

_SCRIPTS = {
    "bash": r"""
_pyshard_completion() {
    local IFS=$'\n' rest=$COMP_LINE place=0 number word type value
    local -a words=()
    COMPREPLY=()
    # bash splits words at "=" and ":", too. What no blank parts is one word again.
    for ((number = 0; number < ${#COMP_WORDS[@]}; number++)); do
        word=${COMP_WORDS[number]}
        if ((number == 0)) || [[ $rest == [[:space:]]* ]]; then words+=("$word"); else words[-1]+=$word; fi
        if ((number == COMP_CWORD)); then place=$((${#words[@]} - 1)); fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<<"$(COMP_WORDS="${words[*]}" COMP_CWORD=$place _PYSHARD_COMPLETE=bash_complete "$1")"
}

complete -o nosort -F _pyshard_completion pyshard
""",
    "zsh": r"""
#compdef pyshard

_pyshard_completion() {
    (( $+commands[pyshard] )) || return 1
    local type value text
    local -a answers plain described
    answers=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) _PYSHARD_COMPLETE=zsh_complete pyshard)}")
    # An option's value is completed alone, behind the "=".
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    for type value text in "${(@)answers}"; do
        case $type in
            (dir) _path_files -/ ;;
            (file) _path_files -f ;;
            (plain) if [[ $text == _ ]]; then plain+=("$value"); else described+=("$value:$text"); fi ;;
        esac
    done
    if (( $#described )); then _describe -V unsorted described; fi
    if (( $#plain )); then compadd -V unsorted -a plain; fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _pyshard_completion "$@"
else
    compdef _pyshard_completion pyshard
fi
""",
    "fish": r"""
function __pyshard_completion
    # fish wants whole words: an option's name and its "=" stand before each value.
    set -l option (string match --regex -- '^--[^=]+=' (commandline -ct))
    set -l words COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -ct)
    for answer in (env _PYSHARD_COMPLETE=fish_complete $words pyshard)
        set -l parts (string split --max 1 -- , $answer)
        switch $parts[1]
            case dir
                for path in (__fish_complete_directories $parts[2])
                    echo "$option$path"
                end
            case file
                for path in (__fish_complete_path $parts[2])
                    echo "$option$path"
                end
            case plain
                echo "$option$parts[2]"
        end
    end
end

complete --no-files --command pyshard --arguments "(__pyshard_completion)"
""",
}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)), metavar="SHELL")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes this command.

    SHELL is bash, zsh or fish. It completes subcommands, options and files, and asks no cluster. `pyshard shell`
    completes keys and indexes, too.

    \b
    Examples:
      eval "$(pyshard completion bash)"     in ~/.bashrc
      eval "$(pyshard completion zsh)"      in ~/.zshrc, after compinit
      pyshard completion fish > ~/.config/fish/completions/pyshard.fish
    """
    refuse_outer(context)
    put_lines(f"# In use by: {SHELLS[shell]}\n{_SCRIPTS[shell].strip()}\n".encode())
