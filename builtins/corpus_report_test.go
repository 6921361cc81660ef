package builtins

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sst/builtins/jsii"
)

// failuresFile lists what does not come out as Node has it, and why.
const failuresFile = "testdata/corpus/failures.md"

// fault says of whom a failure is.
type fault string

const (
	ofTranslation fault = "translation"
	ofLanguage    fault = "language" // what Starlark or sst leaves out on purpose
	ofOurs        fault = "ours"
)

// reason is why an example does not come out as Node has it. What no reason fits is ours.
type reason struct {
	fault   fault
	text    string
	applies func(e *example, o outcome) bool
}

func detail(expr string) func(*example, outcome) bool {
	re := regexp.MustCompile(expr)
	return func(_ *example, o outcome) bool { return re.MatchString(o.Detail) }
}

func python(expr string) func(*example, outcome) bool {
	re := regexp.MustCompile(expr)
	return func(e *example, _ outcome) bool { return re.MatchString(e.Python) }
}

func both(a, b func(*example, outcome) bool) func(*example, outcome) bool {
	return func(e *example, o outcome) bool { return a(e, o) && b(e, o) }
}

// unparsed are the reasons why a translation is no Starlark, of which only the numbers are listed.
var unparsed = []reason{
	{ofTranslation, "there is none", detail(`^not translated$`)},
	{ofLanguage, "it has classes", python(`(?m)^\s*class \w+`)},
	{ofTranslation, "it uses names that it does not define", detail(`undefined: `)},
	{ofLanguage, "it has f-strings", python(`\bf"`)},
	{ofTranslation, "it is no Python", func(*example, outcome) bool { return true }},
}

var reasons = []reason{
	{ofTranslation, "Keys of a map that belong to the user are spelt in snake case. Python would make the same template.", snakeCaseKeys},
	{ofTranslation, "KiB, MiB and GiB are spelt `ki_b`; the Python bindings have `kib`.", both(python(`[kmgt]i_b\b`), detail(`[kmgt]i_?b"`))},
	{ofTranslation, "A name has digits, and is spelt as in TypeScript; the Python bindings have `A2_A` and `LINEAR_10_PERCENT`.", otherSpelling},
	{ofTranslation, "The example uses what the metadata of the CDK does not have, and so no other language than TypeScript.", notInMetadata},
	{ofTranslation, "The last of several structs is given by keywords, though they are a list.", detail(`(from_values has no parameter "label"|acknowledge has no parameter "id")`)},
	{ofTranslation, "An object literal stands for a class that happens to look like it, which only TypeScript allows.", detail(`takes cdk\.[\w.]+, not a dict`)},
	{ofTranslation, "A struct is given by position, where Python takes keywords.", both(python(`(?m)Domain\(self, "Domain", domain_props\)`), detail(`Domain needs "version"`))},
	{ofTranslation, "The text of a function has lost its indentation.", detail(`Code\.ZipFile: got`)},
	{ofTranslation, "A dict is given an attribute.", detail(`Can't assign to \.\w+ field of dict`)},
	{ofTranslation, "Dates are subtracted as JavaScript does.", detail(`"-" cannot be applied to string`)},
	{ofTranslation, "The example reads beyond the end of a list, or an attribute of nothing, which is `undefined` in JavaScript.", detail(`Index 0 out of range: empty list|NoneType has no attribute`)},
}

var (
	meantName = regexp.MustCompile(`has no (?:attribute|parameter|member) "(\w+)"\. Did you mean "(\w+)"`)
	noName    = regexp.MustCompile(`^unknown-(?:parameter|attribute|member): cdk\.([\w.]+) has no (?:attribute|parameter|member) "(\w+)"`)
)

// otherSpelling holds when the name that is not known differs in underscores from one that is.
func otherSpelling(_ *example, o outcome) bool {
	m := meantName.FindStringSubmatch(o.Detail)
	return m != nil && fold(m[1]) == fold(m[2])
}

// notInMetadata holds when a name is not known and no other spelling of it is a member of the type.
func notInMetadata(_ *example, o outcome) bool {
	m := noName.FindStringSubmatch(o.Detail)
	if m == nil {
		return false
	}
	names := jsii.Index()
	for _, prefix := range []string{"aws-cdk-lib.", ""} {
		t, ok := names.Type(prefix + m[1])
		if !ok {
			continue
		}
		members := t.Members()
		if init := t.Init(); init != nil {
			if props := keywordStruct(names, init.Params, init.Variadic); props != nil {
				members = append(slices.Clone(members), props.Fields()...)
			}
		}
		return !slices.ContainsFunc(members, func(member *jsii.Member) bool { return fold(member.JS) == fold(m[2]) })
	}
	return false
}

var namedKey = regexp.MustCompile(`^cdk-error: .*'(\w+_\w+)'`)

// snakeCaseKeys holds when the templates are the same but for keys that the translation has in quotes, or when the CDK names
// such a key.
func snakeCaseKeys(e *example, o outcome) bool {
	if m := namedKey.FindStringSubmatch(o.Detail); m != nil {
		return strings.Contains(e.Python, `"`+m[1]+`":`)
	}
	return o.Verdict == different && len(o.Keys) > 0 && !slices.ContainsFunc(o.Keys, func(key string) bool {
		return !strings.Contains(e.Python, `"`+key+`"`)
	})
}

func reasonFor(list []reason, e *example, o outcome) (fault, string) {
	for _, r := range list {
		if r.applies(e, o) {
			return r.fault, r.text
		}
	}
	return ofOurs, "Not explained."
}

// report counts outcomes and groups the failures.
type report struct {
	examples, meant, parsed, evaluated       int
	meantTemplates, templates, sameTemplates int
	theirs, theirTemplates                   int // of the failures, those of the translation or the language
	groups                                   []*group
}

type group struct {
	fault  fault
	text   string
	count  int
	listed []string
}

func newReport(list []*example, outcomes []outcome) *report {
	r := &report{examples: len(list)}
	for i, o := range outcomes {
		if o.Verdict == notMeant {
			continue
		}
		e := list[i]
		r.meant++
		if !o.Empty {
			r.meantTemplates++
		}
		if o.Verdict == untranslated {
			fault, text := reasonFor(unparsed, e, o)
			r.group(fault, "No Starlark: "+text+".").count++
			continue
		}
		r.parsed++
		if !o.Empty {
			r.templates++
		}
		switch o.Verdict {
		case same:
			r.evaluated++
			if !o.Empty {
				r.sameTemplates++
			}
			continue
		case different:
			r.evaluated++
		}
		fault, text := reasonFor(reasons, e, o)
		if fault != ofOurs {
			if o.Verdict != different {
				r.theirs++
			}
			if !o.Empty {
				r.theirTemplates++
			}
		}
		g := r.group(fault, text)
		g.count++
		g.listed = append(g.listed, fmt.Sprintf("| `%s` | %s | %s | %s |", o.ID[:16], strings.TrimPrefix(e.Of, "aws-cdk-lib."), o.Verdict, cell(o.Detail)))
	}
	slices.SortStableFunc(r.groups, func(a, b *group) int { return b.count - a.count })
	return r
}

func (r *report) group(fault fault, text string) *group {
	for _, g := range r.groups {
		if g.fault == fault && g.text == text {
			return g
		}
	}
	g := &group{fault: fault, text: text}
	r.groups = append(r.groups, g)
	return g
}

func cell(text string) string {
	text = strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text)
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "..."
	}
	return text
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
}

// summary is the table of numbers.
func (r *report) summary() string {
	var b strings.Builder
	row := func(what string, n int, share string) { fmt.Fprintf(&b, "| %s | %d | %s |\n", what, n, share) }
	b.WriteString("| | examples | |\n|---|---|---|\n")
	row("in the archive", r.examples, "")
	row("Node evaluates them", r.meant, "")
	row("and makes a template that is not empty", r.meantTemplates, "")
	row("the translation parses and resolves as Starlark", r.parsed, "100 %")
	row("it evaluates", r.evaluated, percent(r.evaluated, r.parsed))
	row("it evaluates, faults of the translation aside", r.evaluated, percent(r.evaluated, r.parsed-r.theirs))
	row("of these, with a template that is not empty", r.templates, "100 %")
	row("the templates are the same", r.sameTemplates, percent(r.sameTemplates, r.templates))
	row("the templates are the same, faults of the translation aside", r.sameTemplates, percent(r.sameTemplates, r.templates-r.theirTemplates))
	return b.String()
}

// markdown is the whole table.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# The CDK's documentation, evaluated\n\nWritten by `make corpus`: each example of aws-cdk-lib's documentation in Node, and its translation to Python as Starlark.\n\n")
	b.WriteString(r.summary())
	b.WriteString("\n## Failures\n\n| fault of | | examples |\n|---|---|---|\n")
	for _, g := range r.groups {
		fmt.Fprintf(&b, "| %s | %s | %d |\n", g.fault, g.text, g.count)
	}
	for _, g := range r.groups {
		if len(g.listed) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\nFault of: %s.\n\n| example | documents | fails at | |\n|---|---|---|---|\n%s\n", g.text, g.fault, strings.Join(g.listed, "\n"))
	}
	return b.String()
}

func (r *report) write() error { return os.WriteFile(failuresFile, []byte(r.markdown()), 0o644) }
