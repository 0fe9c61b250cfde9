"""Runs one invocation of a Python Lambda function: ``_bootstrap.py CODE_DIR HANDLER EVENT_FILE RESULT_FILE``.

Uses the standard library only, since it runs among the function's own modules. The result file gets ``{"result": …}``, or
``{"error": {"errorMessage", "errorType", "stackTrace"}}`` as Lambda itself reports an unhandled exception.
"""

import importlib
import json
import os
import sys
import time
import traceback


class Context:
    """What a handler gets as its second argument."""

    def __init__(self) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = os.environ["_LAMBDA_FUNCTION_ARN"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.aws_request_id = os.environ["_LAMBDA_REQUEST_ID"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = time.monotonic() + float(os.environ["_LAMBDA_TIMEOUT_S"])

    def get_remaining_time_in_millis(self) -> int:
        """Return milliseconds until the invocation times out."""
        return max(0, int(1000 * (self._deadline - time.monotonic())))


def main() -> int:
    """Run it; exit code 0 when the handler returned, 1 when it raised."""
    code_dir, handler, event_file, result_file = sys.argv[1:5]
    sys.path.insert(0, code_dir)
    module_name, _, function_name = handler.rpartition(".")
    try:
        with open(event_file) as file:  # noqa: PTH123 (as little as possible is imported before the function's own modules)
            event = json.load(file)
        function = getattr(importlib.import_module(module_name.replace("/", ".")), function_name)
        answer = {"result": function(event, Context())}
        text = json.dumps(answer)
    except BaseException as error:  # noqa: BLE001 (whatever the handler does is reported)
        traceback.print_exc()
        stack = traceback.format_tb(error.__traceback__)
        text = json.dumps({"error": {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": stack}})
    with open(result_file, "w") as file:  # noqa: PTH123
        file.write(text)
    return 1 if text.startswith('{"error"') else 0


if __name__ == "__main__":
    sys.exit(main())
