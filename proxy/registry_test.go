package proxy

import (
	"fmt"
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	// Each step is "name[:functions][<former][!|+]" for a hello (! takes over, + was there before) or "-name" for a leaving.
	for _, test := range []struct{ name, steps, want, told string }{
		{"one", "ada", "ada", ""},
		{"exclusive", "ada grace", "ada", "ada refused"},
		{"taken over", "ada grace!", "grace", "ada replaced"},
		{"shared", "ada:A grace:B", "ada:A grace:B", ""},
		{"shared by three", "ada:A,B grace:C joan:D", "ada:A,B grace:C joan:D", ""},
		{"a function that another has", "ada:A,B grace:B,C", "ada:A,B", "ada refused B"},
		{"everything when one has some", "ada:A grace", "ada:A", "ada refused A"},
		{"some when one has everything", "ada grace:A", "ada", "ada refused A"},
		{"taken one", "ada grace:A!", "ada grace:A", "ada taken A"},
		{"taken one of two", "ada:A,B grace:B!", "ada:A,B grace:B", "ada taken B"},
		{"taken both of two", "ada:A,B grace:B,A,C!", "grace:B,A,C", "ada replaced"},
		{"taken from two", "ada:A grace:B joan!", "joan", "ada replaced, grace replaced"},
		{"given back", "ada grace:A! -grace", "ada", "ada taken A, ada returned A"},
		{"a third waits", "ada grace:A! joan:A", "ada grace:A", "ada taken A, ada refused A"},
		{"the first leaves", "ada grace:A! -ada", "grace:A", "ada taken A"},
		{"back below", "ada grace:A! -ada ada+", "ada grace:A", "ada taken A"},
		{"back to nothing", "ada grace! ada+", "grace", "ada replaced, grace refused"},
		{"back to nothing of one's own", "ada:A grace:A! ada:A+", "grace:A", "ada replaced, grace refused A"},
		{"back to a part", "ada:A,B grace:A! -ada ada:A,B+", "ada:A,B grace:A", "ada taken A"},
		{"the same again", "ada ada", "ada", ""},
		{"in the place of a former run", "ada ada2<ada", "ada2", "ada replaced"},
		{"a former run that left", "ada -ada ada2<ada", "ada2", ""},
		{"a former run does not help against another", "grace ada2<ada", "grace", "grace refused"},
		{"what a former run took over", "ada grace:A! grace2:A<grace", "ada grace2:A", "ada taken A, grace replaced"},
		{"less than a former run had", "ada ada2:A<ada", "ada2:A", "ada replaced"},
		{"more than a former run had", "ada:A ada2:A,B<ada", "ada2:A,B", "ada replaced"},
		{"more, which another has", "ada:A grace:B ada2:A,B<ada", "grace:B", "ada replaced, grace refused B"},
		{"more than a former run took over", "joan ada:A! ada2:A,B<ada", "joan", "joan taken A, ada replaced, joan returned A, joan refused A,B"},
	} {
		var r Registry
		var told []string
		tell := func(notices []Notice) {
			for _, n := range notices {
				told = append(told, strings.TrimSpace(n.Connection+" "+n.Kind+" "+strings.Join(n.Functions, ",")))
			}
		}
		for _, step := range strings.Fields(test.steps) {
			if name, ok := strings.CutPrefix(step, "-"); ok {
				next, notices := r.Leave(name)
				r = next
				tell(notices)
				continue
			}
			takeOver, again := strings.HasSuffix(step, "!"), strings.HasSuffix(step, "+")
			step, former, _ := strings.Cut(strings.TrimRight(step, "!+"), "<")
			name, only, some := strings.Cut(step, ":")
			c := Claim{Connection: name, Instance: name, Name: name, Former: former}
			if some {
				c.Only = strings.Split(only, ",")
			}
			next, notices, refused := r.Register(c, takeOver, again)
			if refused != nil && next.Has(name) {
				t.Errorf("%s: refused, but registered", test.name)
			}
			r = next
			tell(notices)
		}
		var got []string
		for _, c := range r {
			got = append(got, strings.TrimSuffix(c.Name+":"+strings.Join(c.Only, ","), ":"))
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: registered %s, want %s", test.name, s, test.want)
		}
		if s := strings.Join(told, ", "); s != test.told {
			t.Errorf("%s: told %q, want %q", test.name, s, test.told)
		}
	}
}

func TestNoticeText(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{Notice{Kind: NoticeTaken, Name: "grace", Functions: []string{"web/A", "web/B"}}.String(), "grace runs web/A, web/B now"},
		{Notice{Kind: NoticeReturned, Name: "grace", Functions: []string{"web/A"}}.String(), "grace has left, web/A runs here again"},
		{Notice{Kind: NoticeRefused, Name: "grace"}.String(), "grace wanted to run everything and was refused"},
		{Notice{Kind: NoticeReplaced}.String(), "another developer took over"},
		{fmt.Sprint(&PresentError{Name: "ada", Functions: []string{"web/A"}}), "ada runs web/A"},
		{fmt.Sprint(&PresentError{}), "another developer is connected"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// A hello that was on its way for long, of a connection given up meanwhile, does not move the registration there.
func TestRegistryLateHello(t *testing.T) {
	var r Registry
	r, _, _ = r.Register(Claim{Connection: "new", Instance: "ada", Turn: 2}, false, true)
	r, _, refused := r.Register(Claim{Connection: "old", Instance: "ada", Turn: 1}, false, true)
	r, _ = r.Leave("old")
	if c, ok := r.For("f"); refused != nil || !ok || c.Connection != "new" {
		t.Errorf("registered %+v, refused %v", r, refused)
	}
}
