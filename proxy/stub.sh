#!/bin/sh
# Lambda starts this in the place of the function's runtime; the first argument is the runtime's Node.
exec "${1:-/var/lang/bin/node}" "${LAMBDA_TASK_ROOT:-/var/task}/sst-live.mjs"
