//go:build !windows

package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sst/cfn"
)

// TestTimeoutLeavesNothing runs out of time in a process that ignores SIGTERM and has started another: both must be gone.
func TestTimeoutLeavesNothing(t *testing.T) {
	f := nodeFunction("web/Stay", "src/stay.handler")
	f.Timeout = 1
	p := newProject(t, map[string]string{"src/stay.js": `
import { spawn } from 'node:child_process';
export const handler = async () => {
  process.on('SIGTERM', () => {});
  const child = spawn('sh', ['-c', 'trap "" TERM; sleep 1000'], { stdio: 'ignore' });
  console.log('pids', process.pid, child.pid);
  await new Promise((r) => setTimeout(r, 60000));
};`}, []cfn.Function{f})
	if got := p.invoke("web-Stay", "{}"); !strings.Contains(got.body, "Task timed out after 1.00 seconds") {
		t.Errorf("Invoke = %+v", got)
	}
	line := await(p, "the processes", func(e Logged) bool { return strings.HasPrefix(e.Line, "pids ") }).Line
	allGone(t, strings.Fields(line)[1:])
}

// TestChildrenGo has a handler start many processes and end: they end with it.
func TestChildrenGo(t *testing.T) {
	f := nodeFunction("web/Fork", "src/fork.handler")
	p := newProject(t, map[string]string{"src/fork.js": `
import { spawn } from 'node:child_process';
export const handler = async () => {
  const children = Array.from({ length: 40 }, () => spawn('sh', ['-c', 'trap "" TERM HUP; sleep 1000 & wait'], { stdio: 'ignore' }));
  console.log('pids', ...children.map((c) => c.pid));
  await new Promise((r) => setTimeout(r, 100));
  process.exit(0);
};`}, []cfn.Function{f})
	if got := p.invoke("web-Fork", "{}"); !strings.Contains(got.body, "Runtime exited without providing a reason") {
		t.Errorf("Invoke = %+v", got)
	}
	allGone(t, strings.Fields(await(p, "the processes", func(e Logged) bool { return strings.HasPrefix(e.Line, "pids ") }).Line)[1:])
}

// allGone waits until processes have ended.
func allGone(t *testing.T, pids []string) {
	t.Helper()
	for _, field := range pids {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		gone := false
		for range 200 {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// One that nobody waits for any more is a zombie until the system's own process takes it.
			if gone = syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(stat), ") Z "); gone {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !gone {
			t.Errorf("process %d is still there", pid)
		}
	}
}
