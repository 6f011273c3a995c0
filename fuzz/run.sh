#!/usr/bin/env bash
# A run of every fuzz target, or of those named as arguments: FUZZ_SECONDS each (default 10). Ends with status 1 on
# the first finding, and says where the input is that caused it. docs/fuzzing.md tells what each target holds.
set -eu -o pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-10}
# Sanitizers and coverage are unstable. Made with rustc 1.97.0-nightly (e50aa6fba 2026-05-19).
toolchain=${FUZZ_TOOLCHAIN:-nightly}
host=$(rustc -vV | sed -n 's/^host: //p')

# The longest input, in bytes: enough for every branch, short enough for many tries. Where the bytes are choices,
# a history that is longer finds nothing that a shorter one does not.
declare -A max_len=(
    [apply_sequence]=256 [cache_open]=256 [command]=512 [control_parts]=2048 [control_requests]=2048
    [daemon_files]=1024 [env]=512 [envelope]=8192 [json]=4096 [link_lines]=2048 [payload]=4096
    [shim_options]=512 [shim_response]=65536 [socket_head]=2048 [statement]=4096 [trust_chain]=512
    [update_open]=2048
)

if ! rustup run "$toolchain" rustc --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly Rust and a C++ compiler: rustup toolchain install $toolchain --profile minimal" >&2
    exit 1
fi

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(printf '%s\n' "${!max_len[@]}" | sort)

cargo "+$toolchain" fuzz build --codegen-units 16

for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    inputs=("corpus/$target" "seeds/$target")
    [ ! -d "regressions/$target" ] || inputs+=("regressions/$target")
    [ "$target" != envelope ] || [ ! -d ../tests/vectors ] || inputs+=(../tests/vectors)
    log="artifacts/$target.log"
    # Twice what a long run takes, most of which the sanitizer keeps itself.
    if ASAN_OPTIONS=detect_odr_violation=0 "target/$host/release/$target" "${inputs[@]}" \
        -max_total_time="$seconds" -max_len="${max_len[$target]}" -rss_limit_mb=1024 -timeout=60 \
        -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        printf '%-17s %s\n' "$target" "$(grep -a DONE "$log" | tail -n 1 | sed -E 's/^#([0-9]+)\s+DONE\s+/\1 inputs, /; s/ lim:.*//')"
    else
        grep -a -A 4 -E 'panicked at|ERROR' "$log" | head -n 12 >&2
        echo "$target failed; the input is" >&2
        sed -n -E 's/.*Test unit written to (.*)/fuzz\/\1/p' "$log" >&2
        echo "once it is mended, keep it in fuzz/regressions/$target/, where cargo test runs it" >&2
        exit 1
    fi
done
