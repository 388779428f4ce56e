"""Shell completion of verbs, flags and choices, generated from the parser."""

import argparse

SHELLS = ("bash", "zsh", "fish")


def completion_script(shell: str, verbs: argparse._SubParsersAction) -> str:
    """Return the completion script of a shell for the verbs of the command `exprbench`."""
    words = {name: _words(parser) for name, parser in verbs.choices.items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](words)


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the flags of a verb, its choices and its actions."""
    words: list[str] = []
    for action in parser._actions:
        words += [flag for flag in action.option_strings if flag.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            words += list(action.choices)
            words += [word for inner in action.choices.values() for word in _words(inner)]
        elif action.choices:
            words += [str(choice) for choice in action.choices]
    return sorted(dict.fromkeys(words))


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    {verb}) words="{" ".join(of_verb)}" ;;' for verb, of_verb in words.items())
    return f"""\
_exprbench() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
}}
complete -o filenames -F _exprbench exprbench
"""


def _zsh(words: dict[str, list[str]]) -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(words)


def _fish(words: dict[str, list[str]]) -> str:
    lines = [f"complete -c exprbench -n __fish_use_subcommand -f -a '{' '.join(words)}'"]
    lines += [
        f"complete -c exprbench -n '__fish_seen_subcommand_from {verb}' -a '{' '.join(of_verb)}'"
        for verb, of_verb in words.items()
    ]
    return "\n".join(lines) + "\n"
