"""Runs a Python function under debugpy: says where that listens, waits for a line of JSON on stdin that says which function
this is, and becomes its client of the Runtime API. A debugger that came meanwhile has set its breakpoints by then."""
import http.client
import json
import os
import runpy
import sys
import threading

import debugpy

ADDRESS = sys.argv[1]


def main():
    host, port = debugpy.listen(("127.0.0.1", 0))
    connection = http.client.HTTPConnection(ADDRESS)
    connection.request("POST", "/sst/inspect", "%s:%d" % (host, port))
    connection.getresponse().read()
    connection.close()

    line = sys.stdin.readline()
    if not line:
        sys.exit(0)  # the server went away
    bind = json.loads(line)
    sys.stdin = open(os.devnull)
    os.dup2(sys.stdin.fileno(), 0)
    os.environ.clear()
    os.environ.update(bind["env"])
    os.chdir(bind["task"])
    for folder in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
    if bind["wait"]:
        timer = threading.Timer(bind["wait"], debugpy.wait_for_client.cancel)
        timer.daemon = True
        timer.start()
        debugpy.wait_for_client()
        timer.cancel()
    if bind["client"]:
        sys.argv = ["awslambdaric", bind["handler"]]
        runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
    else:
        sys.argv = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")]
        runpy.run_path(sys.argv[0], run_name="__main__")


main()
