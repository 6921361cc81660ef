package runtime

import (
	"encoding/json"
	"testing"
	"time"

	"sst/cfn"
)

func TestSchedules(t *testing.T) {
	from := time.Date(2026, 1, 1, 12, 30, 15, 0, time.UTC) // a Thursday
	tests := []struct{ schedule, zone, want string }{
		{"rate(1 minute)", "", "2026-01-01T12:31:15Z"},
		{"rate(2 days)", "", "2026-01-03T12:30:15Z"},
		{"cron(0 12 * * ? *)", "", "2026-01-02T12:00:00Z"},
		{"cron(0/15 * * * ? *)", "", "2026-01-01T12:45:00Z"},
		{"cron(0 9 ? * 2-6 *)", "", "2026-01-02T09:00:00Z"}, // Monday to Friday
		{"cron(0 9 ? * 1 *)", "", "2026-01-04T09:00:00Z"},   // Sunday
		{"cron(0 9 ? * 7 *)", "", "2026-01-03T09:00:00Z"},   // Saturday
		{"cron(0 9 ? * L *)", "", "2026-01-03T09:00:00Z"},   // Saturday
		{"cron(0 9 ? * 6L *)", "", "2026-01-30T09:00:00Z"},  // last Friday
		{"cron(0 9 ? * 2#1 *)", "", "2026-01-05T09:00:00Z"}, // first Monday
		{"cron(0 9 ? * MON *)", "", "2026-01-05T09:00:00Z"},
		{"cron(0 9 L * ? *)", "", "2026-01-31T09:00:00Z"},
		{"cron(0 9 3W * ? *)", "", "2026-01-02T09:00:00Z"}, // the 3rd is a Saturday
		{"cron(0 9 ? * MON-FRI 2027)", "", "2027-01-01T09:00:00Z"},
		{"cron(0 9 * * ? *)", "Europe/Berlin", "2026-01-02T08:00:00Z"},
		{"at(2026-02-01T10:00:00)", "", "2026-02-01T10:00:00Z"},
		{"at(2025-02-01T10:00:00)", "", "0001-01-01T00:00:00Z"},
	}
	for _, test := range tests {
		s, err := parseSchedule(test.schedule, test.zone)
		if err != nil {
			t.Errorf("%s: %v", test.schedule, err)
			continue
		}
		if got := s.next(from).UTC().Format(time.RFC3339); got != test.want {
			t.Errorf("%s after %s = %s, want %s", test.schedule, from.Format(time.RFC3339), got, test.want)
		}
	}
	for _, bad := range []string{"", "rate(x)", "rate(0 minutes)", "rate(1 fortnight)", "cron(* * *)", "daily", "cron(0 9 ? * MON *"} {
		if _, err := parseSchedule(bad, ""); err == nil {
			t.Errorf("parseSchedule(%q) succeeded", bad)
		}
	}
}

func TestCron(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `export const handler = async (event) => event;`}, []cfn.Function{nodeFunction("web/A", "src/a.handler")})
	p.asm.Manifest.Triggers = []cfn.Trigger{
		{Type: "cron", ID: "web/Clock", Function: "web/A", Schedule: "rate(1 second)", Enabled: true},
		{Type: "cron", ID: "web/Own", Function: "web/A", Schedule: "rate(1 second)", Enabled: true, Input: `{"own":true}`},
		{Type: "cron", ID: "web/Off", Function: "web/A", Schedule: "rate(1 second)", Input: `{"off":true}`},
	}
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	await(p, "the rule with its own input", func(e Finished) bool { return string(e.Result) == `{"own":true}` })
	got := await(p, "the rule", func(e Finished) bool { return e.Trigger == "cron rate(1 second)" && string(e.Result) != `{"own":true}` })
	var event map[string]any
	if err := json.Unmarshal(got.Result, &event); err != nil || event["detail-type"] != "Scheduled Event" || event["source"] != "aws.events" {
		t.Errorf("event = %s", got.Result)
	}
}
