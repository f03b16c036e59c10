"""``lorabench completion SHELL``: the script by which a shell completes commands, groups, choices, keys and options."""

import argparse
from collections.abc import Sequence

from lorabench.console.candidates import candidates
from lorabench.terminal.entry import command, one_line

BASH = r"""# eval "$(lorabench completion bash)", for example in ~/.bashrc
_lorabench() {
    local line="${COMP_LINE:0:COMP_POINT}" program="${1/#\~/$HOME}" word kept
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]} - 1]}"
    local IFS=$'\n'
    COMPREPLY=($("$program" completion query "${words[@]:1}" 2> /dev/null))
    if [[ ${COMPREPLY[0]} == *[=.] ]] && type compopt &> /dev/null; then compopt -o nospace; fi
    if [[ $COMP_WORDBREAKS == *=* ]]; then  # bash replaces what stands behind the last of them alone
        kept="${word%"${word##*[=:]}"}"
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    fi
}
complete -o default -F _lorabench lorabench
"""

ZSH = r"""#compdef lorabench
# eval "$(lorabench completion zsh)", for example in ~/.zshrc, after compinit
_lorabench() {
    local -a listed whole open
    listed=("${(@f)$(${~words[1]} completion query "${(@)words[2,CURRENT-1]}" "$PREFIX" 2> /dev/null)}")
    whole=(${listed:#*[=.]})
    open=(${(M)listed:#*[=.]})
    (( $#whole )) && compadd -- $whole
    (( $#open )) && compadd -S '' -- $open
    (( $#whole + $#open )) || { compset -P '*='; _files }
}
compdef _lorabench lorabench
"""

FISH = r"""# lorabench completion fish | source, for example in ~/.config/fish/config.fish
function __lorabench_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l listed ($program completion query $words "$current" 2> /dev/null)
    if count $listed > /dev/null
        string join \n $listed
    else
        __fish_complete_path "$current"
    end
end
complete -c lorabench -f -a '(__lorabench_candidates)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Print the completion script of a shell.",
        epilog='bash and zsh: eval "$(lorabench completion SHELL)"; fish: lorabench completion fish | source',
    )
    parser.add_argument("shell", choices=SCRIPTS)
    return parser


def main(arguments: list[str], prog: str) -> None:
    """Print a script; with ``query``, which the scripts call, what the words behind it can go on with."""
    if arguments[:1] == ["query"]:
        print("".join(f"{word}\n" for word in candidates(arguments[1:])), end="")
        return
    with command():
        print(SCRIPTS[one_line(parser(prog)).parse_args(arguments).shell], end="")
