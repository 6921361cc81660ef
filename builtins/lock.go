package builtins

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// LockFile holds what a build has to know of the outside: the answers of lookups in AWS. It is committed.
const LockFile = "sst.lock.json"

// lock is the content of the lock file.
type lock struct {
	Lookups   map[string]json.RawMessage `json:"lookups"`   // by the CDK's key, and AccountKey
	Libraries map[string]jsii.Pin        `json:"libraries"` // by name

	read bool
}

const missingLookup = "missing-lookup"

// AccountKey is the key of a stage's account, when stages does not name it.
func AccountKey(stage string) string { return "account:stage=" + stage }

// readLock reads the lock file, once; without one it is empty.
func (s *session) readLock() error {
	if s.lock.read {
		return nil
	}
	s.lock.read = true
	path := filepath.Join(s.root, LockFile)
	data, err := s.readFile(path)
	if err != nil {
		return nil
	}
	s.onRead(path, data)
	if err := json.Unmarshal(data, &s.lock); err != nil {
		f := interp.Errorf("wrong-lock", "Unreadable lock file", "%s is not what sst writes: %v.", LockFile, err)
		f.Hint = "Take it from version control again, or delete it and run `sst lookup`."
		return f
	}
	return nil
}

// lookups are the recorded answers, for the CDK's context.
func (s *session) lookups() jsii.Pairs {
	var pairs jsii.Pairs
	for _, name := range sortedKeys(s.lock.Lookups) {
		var answer jsii.Value
		if json.Unmarshal(s.lock.Lookups[name], &answer) == nil {
			pairs.Set(name, answer)
		}
	}
	return pairs
}

// account is that of the stage, as far as it is recorded.
func (s *session) account() string {
	account := s.in.Account
	json.Unmarshal(s.lock.Lookups[AccountKey(s.in.Stage)], &account)
	return account
}

// madeUpAccount stands in where a lookup of a local run wants an account. It is that of the local cloud.
const madeUpAccount = "000000000000"

// madeUp says whether lookups may go without their answers.
func (in *Input) madeUp() bool { return in.Local && !in.Live }

// wantsAccount says whether a synth ended at a lookup because it had no account.
func wantsAccount(s *Synthesis, err error, stage string) bool {
	return err != nil && s != nil && len(s.Missing) == 1 && s.Missing[0].Key == AccountKey(stage)
}

// lookupCommand is what fills the lock file for the stage at hand.
func (s *session) lookupCommand() string {
	if s.in.Personal {
		return "sst lookup"
	}
	return "sst lookup --stage " + s.in.Stage
}

// WantsLookup says whether a diagnostic is about something that `sst lookup` records.
func WantsLookup(d *diag.Diagnostic) bool { return d.Code == missingLookup || d.Code == unknownAccount }

// regionKnown says whether the app has a region of its own.
func (s *session) regionKnown() bool { return s.region() != "" }

// region is that of the app, "" when only the deployment knows it.
func (s *session) region() string {
	if s.app == nil {
		return ""
	}
	region, _ := starlark.AsString(s.app.members["region"])
	if strings.Contains(region, "${Token[") {
		return ""
	}
	return region
}

// missing adds the lookups without an answer to what a synth ended with. They come first: the CDK goes on with made up values, and
// what fails then may be their consequence.
func (s *session) missing(err error) ([]Lookup, error) {
	var list diag.List
	if err != nil && !errors.As(err, &list) {
		return nil, err
	}
	for _, d := range list {
		if d.Code == unknownAccount && s.regionKnown() {
			props, _ := json.Marshal(map[string]string{"region": s.region()})
			return []Lookup{{Key: AccountKey(s.in.Stage), Props: props, Span: d.Span}}, err
		}
	}
	asked, failed := s.host.Missing(context.WithoutCancel(s.ctx))
	if failed != nil || len(asked) == 0 {
		return nil, err
	}
	var missing []Lookup
	var found diag.List
	for _, m := range asked {
		at := s.call(m.Tag)
		if at.pos.File == "" {
			at = s.appCall
		}
		f := interp.Errorf(missingLookup, "Lookup not recorded", "%s has no answer for %s.", LockFile, m.Key)
		f.Hint = "Run `" + s.lookupCommand() + "` to fetch it from AWS."
		d := s.diagnostic(f, at)
		found = append(found, d)
		missing = append(missing, Lookup{Key: m.Key, Provider: m.Provider, Props: m.Props, Span: d.Span})
	}
	if s.in.madeUp() {
		return missing, err
	}
	return missing, append(found, list...).Sorted()
}
