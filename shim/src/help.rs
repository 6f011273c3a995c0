//! What `--help` and `--version` print.

/// The answer to `--version`.
pub(crate) const VERSION: &str = concat!("miosa-exec ", env!("CARGO_PKG_VERSION"), "\n");

/// The answer to `--help`: only what works.
pub(crate) const HELP: &str = "\
miosa-exec: starts an agent with the environment, directory and command that its host holds for it

usage: miosa-exec [OPTIONS] [--] [COMMAND [ARG]...]

It asks miosad, the daemon on the host, through a socket that is mounted into this sandbox. Then it
becomes the command: the same process id, and nothing of miosa-exec left. Without COMMAND it starts
the one that the run, the environment or the agent's profile names.

What to start with:
  --socket ADDR      miosad's socket: a path, or vsock:CID:PORT [default: /run/miosa/miosa.sock]
  --run ID           the run to start                           [default: none]
  --env NAME=VALUE   one more variable, above all others; never sent to miosad; repeatable
  --file NAME=PATH   not in the environment: in a file of mode 0400 on a tmpfs, and NAME_FILE=PATH
  --fd NAME=N        not in the environment: readable as descriptor N, and NAME_FD=N
  --cwd DIR          start in DIR instead of the directory that miosad names
  --clear-env        do not pass on the environment that miosa-exec was started with
  --wait SECONDS     how long to wait for miosad and the resource; 0: one try     [default: 10]
  --on-failure ACT   fail, or continue: start with the image's own environment    [default: fail]

To stay as the command's parent:
  --init             be its init: pass signals on, reap orphans, end with its status
  --grace SECONDS    after SIGTERM, KILL what is left of its process group        [default: 10]
  --on-change ACT    when what it was started with changes: ignore, restart it, or signal=NAME
                     such as signal=HUP; implies --init         [default: ignore]
  --settle SECONDS   a change counts once nothing more has changed for so long    [default: 2]
  --vm               be the init of a virtual machine: mount /proc, /sys, /dev and /run first,
                     power off at the end; implies --init

To look instead of starting:
  --print WHAT       values are masked
                       env       the environment, as NAME='value' lines that a shell can read
                       json      everything that would be started with, and how old it is
                       explain   where each variable comes from, and what it replaced
                       command   the command, quoted for a shell
  --reveal           with --print env or json: show the values as they are
  -h, --help         show this
  -V, --version      show the version

Each option can be set as a variable too, where nothing can be typed:
  MIOSA_EXEC_WAIT=30  MIOSA_EXEC_INIT=1  MIOSA_EXEC_ON_CHANGE=restart  ...
  MIOSA_EXEC_ENV_NAME=VALUE  MIOSA_EXEC_FILE_NAME=PATH  MIOSA_EXEC_FD_NAME=N
MIOSA_SOCKET and MIOSA_RUN_ID are taken where neither the option nor its variable is given. What is
typed wins. MIOSA_EXEC_... variables are not passed on to the command.

Which value of a variable the command gets, the first that is set:
  --env, what miosad answers, the environment that miosa-exec was started with

Exit status: the command's own (with --init 128+N when signal N ended it), or
  125  miosa-exec could not do its part; the line on stderr says what to do
  126  the command can't be run
  127  the command was not found

When it does not start:
  miosa-exec --wait 0 --print json       does miosad answer, and what?
  miosa-exec --print explain             why has a variable this value, or none?
  ls -l /run/miosa                       is the host's directory mounted, with miosa.sock in it?
  miosad status, miosad explain ID       the same questions, asked on the host
";
