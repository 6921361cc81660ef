package interp

// What an Inference knows of each statement, and what of it still holds when others change.

import (
	"slices"

	"go.starlark.net/syntax"
)

// facts are what a statement says of names.
type facts struct {
	tree    *tree
	defs    []string // globals that it binds, one for each origin
	modules []string // that it loads
	uses    []string // names that it reads, nil until asked for
	used    bool     // uses is known

	// Of one that does not parse.
	broken   bool
	loads    bool     // it may be a load
	mentions []string // names in it
	assigns  []string // those that it may assign

	sound bool // checked, and nothing is wrong with it
	notes Notes
}

// NotesOf are about statement i and what is known of the names in it: they are empty again when one of both changes.
func (inf *Inference) NotesOf(i int) *Notes { return &inf.facts[i].notes }

// bindStatement notes what a statement binds.
func (inf *Inference) bindStatement(s *Statement) *facts {
	f := &facts{tree: s.tree}
	if s.Error != nil {
		toks := lex(s.Text, s.Line)
		f.broken, f.assigns = true, targets(toks)
		for _, t := range toks {
			if t.kind == nameToken {
				f.loads = f.loads || t.text == "load"
				f.mentions = append(f.mentions, t.text)
			}
		}
		return f
	}
	if s.tree == nil {
		return f
	}
	inf.globals.owner = f
	for _, stmt := range s.tree.stmts {
		inf.bind(inf.globals, stmt)
	}
	inf.globals.owner = nil
	return f
}

// unbind takes back what a statement bound.
func (inf *Inference) unbind(f *facts) {
	for _, name := range f.defs {
		b := inf.globals.names[name]
		if b == nil {
			continue
		}
		b.origins = slices.DeleteFunc(b.origins, func(o origin) bool { return o.owner == f })
		b.state, b.shape = 0, nil
		if len(b.origins) == 0 {
			delete(inf.globals.names, name)
		}
	}
}

// findBroken collects what the statements that do not parse leave open: whatever such a statement mentions may be defined by it.
func (inf *Inference) findBroken() {
	inf.broken, inf.assigned, inf.anyName = map[string]bool{}, map[string]bool{}, false
	for _, f := range inf.facts {
		if !f.broken {
			continue
		}
		inf.anyName = inf.anyName || f.loads
		for _, name := range f.mentions {
			inf.broken[name] = true
		}
		for _, name := range f.assigns {
			inf.assigned[name] = true
		}
	}
}

// reads are the names of other statements that one may read.
func (f *facts) reads() []string {
	if f.used {
		return f.uses
	}
	f.used = true
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			f.uses = append(f.uses, name)
		}
	}
	for _, stmt := range f.tree.stmts {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DotExpr:
				root := n.X
				for {
					dot, ok := root.(*syntax.DotExpr)
					if !ok {
						break
					}
					root = dot.X
				}
				if id, ok := root.(*syntax.Ident); ok {
					add(id.Name)
					return false // the rest are attributes
				}
			case *syntax.Ident:
				add(n.Name)
			}
			return true
		})
	}
	return f.uses
}

// Reads reports whether a statement uses a name that another one loads, under that name.
func (inf *Inference) Reads(name string) bool {
	return slices.ContainsFunc(inf.facts, func(f *facts) bool {
		return len(f.modules) == 0 && slices.Contains(f.reads(), name)
	})
}

// Update takes inf to another version of its file, made by [File.Update] or [File.With], or of the files that it loads. What does not depend on what
// changed stays known. It reports whether anything did.
func (inf *Inference) Update(f *File, env Env) bool {
	before := inf.facts
	inf.file, inf.env = f, env
	first, last := 0, 0
	statements := f.Statements
	for first < len(statements) && first < len(before) && statements[first].tree == before[first].tree {
		first++
	}
	for last < len(statements)-first && last < len(before)-first && statements[len(statements)-1-last].tree == before[len(before)-1-last].tree {
		last++
	}
	removed := slices.Clone(before[first : len(before)-last])

	changed := map[string]bool{}
	for _, r := range removed {
		for _, name := range r.defs {
			changed[name] = true
		}
	}
	var known Shape // of the one name that the one changed statement binds
	only := ""
	if len(removed) == 1 && len(removed[0].defs) == 1 {
		only = removed[0].defs[0]
		if b := inf.globals.names[only]; b.state == 2 && len(b.origins) == 1 {
			known = b.shape
		}
	}
	for _, r := range removed {
		inf.unbind(r)
	}
	inf.reload(removed, before, changed)

	added := make([]*facts, 0, len(statements)-first-last)
	for i := first; i < len(statements)-last; i++ {
		fact := inf.bindStatement(&statements[i])
		added = append(added, fact)
		for _, name := range fact.defs {
			changed[name] = true
		}
	}
	inf.facts = slices.Replace(before, first, len(before)-last, added...)
	for name := range changed {
		if b := inf.globals.names[name]; b != nil {
			b.state, b.shape = 0, nil
		}
	}
	inf.rebreak(removed, added, changed)

	if known != nil && len(changed) == 1 && len(added) == 1 && len(added[0].defs) == 1 && added[0].defs[0] == only {
		if b := inf.globals.names[only]; len(b.origins) == 1 && same(known, inf.shapeOf(b)) {
			return true // it is still what it was
		}
	}
	inf.spread(changed)
	return len(removed) > 0 || len(added) > 0 || len(changed) > 0
}

// reload asks anew for the files that the statements load, and notes the names from those that changed.
func (inf *Inference) reload(removed, before []*facts, changed map[string]bool) {
	if inf.env.Load == nil {
		return
	}
	loads := map[string]loaded{}
	for _, f := range before {
		for _, module := range f.modules {
			if slices.Contains(removed, f) {
				continue
			}
			now, asked := loads[module]
			if !asked {
				now.outline, now.shapes = inf.env.Load(module)
				loads[module] = now
			}
			if now.outline == inf.loads[module].outline {
				continue
			}
			f.sound = false
			changed[""] = true // no name, but a change
			for _, name := range f.defs {
				changed[name] = true
			}
		}
	}
	old := inf.loads
	inf.loads = loads
	for _, f := range before {
		if len(f.modules) == 0 || slices.Contains(removed, f) {
			continue
		}
		if !slices.ContainsFunc(f.modules, func(m string) bool { return loads[m].outline != old[m].outline }) {
			continue
		}
		inf.unbind(f)
		f.defs, f.modules = nil, nil
		inf.globals.owner = f
		for _, stmt := range f.tree.stmts {
			inf.bind(inf.globals, stmt)
		}
		inf.globals.owner = nil
	}
}

// rebreak works out again what statements that do not parse leave open, and notes the names of which that changes something.
func (inf *Inference) rebreak(removed, added []*facts, changed map[string]bool) {
	isBroken := func(f *facts) bool { return f.broken }
	if !slices.ContainsFunc(removed, isBroken) && !slices.ContainsFunc(added, isBroken) {
		return
	}
	broken, assigned, anyName := inf.broken, inf.assigned, inf.anyName
	inf.findBroken()
	differ := func(a, b map[string]bool, matters func(string) bool) {
		for name := range a {
			if !b[name] && matters(name) {
				changed[name] = true
			}
		}
	}
	unbound := func(name string) bool { return inf.globals.names[name] == nil }
	always := func(string) bool { return true }
	differ(broken, inf.broken, unbound)
	differ(inf.broken, broken, unbound)
	differ(assigned, inf.assigned, always)
	differ(inf.assigned, assigned, always)
	if anyName != inf.anyName {
		for _, f := range inf.facts {
			f.sound = false
		}
	}
}

// spread forgets what depends on names.
func (inf *Inference) spread(changed map[string]bool) {
	if len(changed) == 0 {
		return
	}
	touched := make([]bool, len(inf.facts))
	for again := true; again; {
		again = false
		for i, f := range inf.facts {
			if touched[i] || f.tree == nil || !slices.ContainsFunc(f.reads(), func(name string) bool { return changed[name] }) {
				continue
			}
			touched[i] = true
			f.sound, f.notes = false, Notes{}
			for _, name := range f.defs {
				if !changed[name] {
					changed[name] = true
					again = true
				}
			}
		}
	}
	for name := range changed {
		b := inf.globals.names[name]
		if b == nil {
			continue
		}
		b.state, b.shape = 0, nil
		for _, o := range b.origins {
			if fn, ok := o.shape.(*functionShape); ok && fn.inf == inf {
				fn.sig = nil
			}
		}
	}
}
