package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/cronexpr"

	"sst/cfn"
)

// schedule says when a rule fires.
type schedule struct {
	every time.Duration        // rate(...)
	cron  *cronexpr.Expression // cron(...)
	at    time.Time            // at(...)
	zone  *time.Location
}

// parseSchedule reads rate(...), cron(...) and at(...) as EventBridge writes them.
func parseSchedule(text, zone string) (*schedule, error) {
	s := &schedule{zone: time.UTC}
	if zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			return nil, fmt.Errorf("time zone %q: %w", zone, err)
		}
		s.zone = loc
	}
	kind, inner, ok := strings.Cut(strings.TrimSpace(text), "(")
	inner, closed := strings.CutSuffix(inner, ")")
	if !ok || !closed {
		return nil, fmt.Errorf("schedule %q: want rate(...), cron(...) or at(...)", text)
	}
	var err error
	switch kind {
	case "rate":
		s.every, err = parseRate(inner)
	case "cron":
		s.cron, err = parseCron(inner)
	case "at":
		s.at, err = time.ParseInLocation("2006-01-02T15:04:05", inner, s.zone)
	default:
		err = fmt.Errorf("want rate(...), cron(...) or at(...)")
	}
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", text, err)
	}
	return s, nil
}

func parseRate(text string) (time.Duration, error) {
	number, unit, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("want a whole number and a unit")
	}
	units := map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	d, ok := units[strings.TrimSuffix(strings.TrimSpace(unit), "s")]
	if !ok {
		return 0, fmt.Errorf("unknown unit %q", unit)
	}
	return time.Duration(n) * d, nil
}

var weekday = regexp.MustCompile(`\d+`)

// parseCron translates AWS's six fields: ? is *, days of the week count from 1 (Sunday), a lone L there is Saturday.
func parseCron(text string) (*cronexpr.Expression, error) {
	fields := strings.Fields(text)
	if len(fields) != 6 {
		return nil, fmt.Errorf("want six fields, got %d", len(fields))
	}
	for i, f := range fields {
		if f == "?" {
			fields[i] = "*"
		}
	}
	days := strings.Split(fields[4], ",")
	for i, day := range days {
		if day == "L" {
			days[i] = "6"
			continue
		}
		head, tail := day, "" // what follows # and / is no day
		if j := strings.IndexAny(day, "#/"); j >= 0 {
			head, tail = day[:j], day[j:]
		}
		days[i] = weekday.ReplaceAllStringFunc(head, func(n string) string {
			v, _ := strconv.Atoi(n)
			return strconv.Itoa(v - 1)
		}) + tail
	}
	fields[4] = strings.Join(days, ",")
	return cronexpr.Parse("0 " + strings.Join(fields, " "))
}

// next gives the first time after now; zero means never again.
func (s *schedule) next(now time.Time) time.Time {
	switch {
	case s.every > 0:
		return now.Add(s.every)
	case s.cron != nil:
		return s.cron.Next(now.In(s.zone))
	case s.at.After(now):
		return s.at
	}
	return time.Time{}
}

// reschedule ends the schedules of the app before and begins those of the present one; one that is the same goes on
// from where it was. It runs on the owner goroutine.
func (s *Server) reschedule(a *app) {
	ctx, cancel := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	if s.schedules != nil {
		s.schedules()
	}
	for _, t := range a.triggers {
		fn := a.functions[t.Function]
		if t.Type != "cron" || t.Schedule == "" || !t.Enabled || fn == nil {
			continue
		}
		sched, err := parseSchedule(t.Schedule, t.Timezone)
		if err != nil {
			s.events.send(Notice{Text: fmt.Sprintf("%s: %v", t.ID, err)})
			continue
		}
		running.Go(func() { s.fire(ctx, t, sched) })
	}
	s.schedules = func() {
		cancel()
		running.Wait()
	}
}

// due remembers when a rate fires next, so that an Update does not begin it anew.
type dueKey struct{ id, function, schedule string }

func (s *Server) fire(ctx context.Context, t cfn.Trigger, sched *schedule) {
	key := dueKey{t.ID, t.Function, t.Schedule}
	for {
		at := sched.next(time.Now())
		if known, ok := s.due.Load(key); ok && sched.every > 0 && known.(time.Time).After(time.Now()) {
			at = known.(time.Time)
		}
		if at.IsZero() {
			return
		}
		s.due.Store(key, at)
		if !waitUntil(ctx, at) {
			return
		}
		fn, ok := s.app.Load().functions[t.Function]
		if !ok {
			return
		}
		event := []byte(t.Input)
		if t.Input == "" {
			event = scheduledEvent(t, fn, at)
		}
		s.later(request{fn: fn, event: event, trigger: "cron " + t.Schedule})
	}
}

// waitUntil sleeps in short steps: a timer does not count the time a laptop sleeps.
func waitUntil(ctx context.Context, at time.Time) bool {
	at = at.Round(0) // the wall clock decides
	for {
		left := time.Until(at)
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, 30*time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// scheduledEvent is the event EventBridge sends when a rule has no input of its own.
func scheduledEvent(t cfn.Trigger, fn *function, at time.Time) []byte {
	region := fn.env["AWS_REGION"]
	name := strings.NewReplacer("/", "-", " ", "-").Replace(t.ID)
	event, _ := json.Marshal(struct {
		Version    string   `json:"version"`
		ID         string   `json:"id"`
		DetailType string   `json:"detail-type"`
		Source     string   `json:"source"`
		Account    string   `json:"account"`
		Time       string   `json:"time"`
		Region     string   `json:"region"`
		Resources  []string `json:"resources"`
		Detail     struct{} `json:"detail"`
	}{"0", newID(), "Scheduled Event", "aws.events", accountID, at.UTC().Format(time.RFC3339), region,
		[]string{fmt.Sprintf("arn:aws:events:%s:%s:rule/%s", region, accountID, name)}, struct{}{}})
	return event
}
