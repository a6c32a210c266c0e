# shellcheck shell=bash
# Completion of the options of oom_guard for bash. Made by scripts/man.sh from the table of
# options, src/settings/table.rs: change that.

_oom_guard() {
    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
    # --option=value is three words.
    if [[ $word == '=' ]]; then
        word=
    elif [[ $option == '=' ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $option in
    -m | --mem | -s | --swap | -M | --mem-size | -S | --swap-size | --psi | --psi-window | -w | --warn | --process-limit | --threshold | --interval | --min-rss | --grace | --cooldown | --reboot-after | --hook-timeout | -r | --report | --ready-fd)
        COMPREPLY=()
        ;;
    --watch)
        mapfile -t COMPREPLY < <(compgen -W 'memory limit both' -- "$word")
        ;;
    --prefer | --avoid | --ignore | --only)
        compopt -o nospace
        mapfile -t COMPREPLY < <(compgen -W 'name: cmd: exe: user: cgroup:' -- "$word")
        ;;
    -P | --pre-kill | --pre-kill-script | -N | --post-kill | --post-kill-script | --warn-hook | --log-file | --stats-file)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    -c | --config)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -W none -f -- "$word")
        ;;
    --cgroup)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        ;;
    -h | --help)
        mapfile -t COMPREPLY < <(compgen -W all -- "$word")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W '-m --mem -s --swap -M --mem-size -S --swap-size --psi --psi-window -w --warn --process-limit --threshold --interval --watch --prefer --avoid --ignore --only --sort-by-rss --cgroup --ignore-root-user --ignore-positive-adj --min-rss -g --kill-group --dryrun --dry-run --grace --cooldown --kernel-oom --reboot-after -P --pre-kill --pre-kill-script -N --post-kill --post-kill-script --warn-hook --hook-timeout -n --notify --low-memory-signal -r --report -d --debug --syslog --log-file --stats-file -p --priority --ready-fd -c --config --check --explain -v -V --version -h --help' -- "$word")
        ;;
    esac
}

complete -F _oom_guard oom_guard
