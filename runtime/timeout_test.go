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
	for _, field := range strings.Fields(line)[1:] {
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
