# shellcheck shell=bash
# Two sides, a namespace each, `theirs` and `ours`: what their kernels make of the same must be the same, step by step.
# Sourced after common.sh, never run.
#
# The script that sources it sets: cases (a directory that may have `exceptions`: lines `NAME STEP REASON` for where the sides
# differ on purpose; STEP may be `*`, and an exception that does not happen is a failure, too), name (the file that is played),
# them (the other program), settled, patience, and in `resident` a process of each side that stays. `table SIDE` is what is
# compared; a script may have its own.

# A table that has been the same on both sides for so long, in seconds, is the answer to a step: several intervals.
settled=4
# Longest wait for that.
patience=30
declare -A resident=()
# shellcheck disable=SC2034 # for those who source this
cases='' name='' them='' wrong=0 tables=()

inside() { nsenter --net="/run/netns/$1" -- "${@:2}"; }
table() { inside "$1" ipvsadm -Sn | sort; }

# What the kernel of a side shows of its table and addresses to whoever looks for a change: no process is needed to read it, and
# none to wait for a moment.
glance() {
  local side file text=()
  looked=''
  for side in theirs ours; do
    for file in ip_vs fib_trie if_inet6; do
      mapfile text <"/proc/${resident[$side]}/net/$file"
      looked+=${text[*]}
    done
  done
}
exec {never}<> <(:)
moment() { read -rt 0.5 -u "$never" || true; }

# Waits until both tables are the same and stay so; false when they do not become so. Compared as text they are only when
# neither has changed for a while: processes are what costs in an emulated machine, and waiting costs nothing.
same() {
  local since=$SECONDS begun=$SECONDS seen=''
  while ((SECONDS - begun < patience)); do
    glance
    [[ $looked == "$seen" ]] || since=$SECONDS seen=$looked
    if ((SECONDS - since >= settled)); then
      before=$(table theirs)
      [[ $before != "$(table ours)" ]] || return 0
      since=$SECONDS
    fi
    moment
  done
  return 1
}

excused() {
  [[ -e $cases/exceptions ]] || return 1
  awk -v name="$1" -v step="$2" '$1 == name && ($2 == step || $2 == "*") {found = 1} END {exit !found}' "$cases/exceptions"
}

# step WHAT: judges what both have made of it. What was the same is in `tables`; `wrong` tells of a difference.
step() {
  [[ -z ${TRACE:-} ]] || remark "$name, $1, after $SECONDS s"
  if same; then
    tables+=("$before")
    if excused "$name" "$1"; then bad "$name, $1: an exception that does not happen"; wrong=1; fi
    return
  fi
  if excused "$name" "$1"; then
    remark "$name, $1: differs, as listed"
    return
  fi
  # shellcheck disable=SC2034 # for those who source this
  wrong=1
  bad "$name, $1: the tables differ (< $them, > pairbeat)"
  diff <(table theirs) <(table ours) || true
}

both() { "$1" theirs "${@:2}"; "$1" ours "${@:2}"; }
different_tables() { printf '%s\0' "${tables[@]}" | sort -zu | tr -cd '\0' | wc -c; }
