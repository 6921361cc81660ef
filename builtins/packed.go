package builtins

import (
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/runtime/bundle"
	interp "sst/starlark"
)

// packed is a static site or a job to be listed in the manifest.
type packed struct {
	owner *Object
	cfn.Packed
}

// pack records that a construct has a bundle of its own.
func (s *session) pack(thread *starlark.Thread, name string, target starlark.Value, spec bundle.Spec) error {
	owner := asObject(scopeOf(target))
	if owner == nil {
		return interp.Errorf("wrong-type", "Wrong type", "%s: got %s, want a construct.", name, shown(target))
	}
	one := packed{owner: owner, Packed: cfn.Packed{Bundle: spec, Path: owner.constructPath(), Position: s.position(s.at(thread))}}
	one.ID = s.short(one.Path)
	s.packed = append(s.packed, one)
	if s.in.OnPacked != nil {
		s.in.OnPacked(one.Packed)
	}
	return nil
}

// jobOf is the intrinsic _job.
func jobOf(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var target starlark.Value
	var built *bundleValue
	if err := starlark.UnpackArgs("_job", args, kwargs, "construct", &target, "bundle", &built); err != nil {
		return nil, err
	}
	return starlark.None, s.pack(thread, "_job", target, built.spec)
}

// siteOf is the intrinsic _site.
func siteOf(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var target starlark.Value
	var path string
	var o bundle.SiteOptions
	var environment *starlark.Dict
	if err := starlark.UnpackArgs("_site", args, kwargs, "construct", &target, "path", &path, "command??", &o.Command, "output??", &o.Output,
		"index??", &o.Index, "environment??", &environment); err != nil {
		return nil, err
	}
	if environment != nil {
		o.Environment = map[string]string{}
		for _, item := range environment.Items() {
			name, _ := starlark.AsString(item[0])
			o.Environment[name], _ = starlark.AsString(item[1])
		}
	}
	spec := bundle.Spec{Kind: bundle.Site, Handler: filepath.ToSlash(strings.TrimPrefix(path, "./")), Site: &o}
	if err := s.findFolder(spec, "path"); err != nil {
		return nil, err
	}
	if err := s.pack(thread, "_site", target, spec); err != nil {
		return nil, err
	}
	return s.placeholder(thread, spec.Key())
}

// placeholder is the aws_lambda.Code that stands for a bundle until its hash is known.
func (s *session) placeholder(thread *starlark.Thread, key string) (*Object, error) {
	t, _ := s.catalog.Type("aws-cdk-lib.aws_lambda.Code")
	code := &Object{s: s, id: s.id(), t: t}
	hash := key
	if real, ok := s.in.Hashes[key]; ok {
		hash = real
	}
	return code, s.send(jsii.Op{Kind: jsii.PlaceholderCode, ID: code.id, Args: []jsii.Value{hash}, Tag: s.at(thread)})
}

// findFolder checks that the folder of a spec exists.
func (s *session) findFolder(spec bundle.Spec, keyword string) error {
	_, _, err := bundle.Find(s.root, spec.Handler, spec.Kind)
	if err == nil {
		return nil
	}
	s.depend(Dependency{Kind: "dir", Name: filepath.Dir(filepath.Join(s.root, filepath.FromSlash(spec.Handler)))})
	f := interp.Errorf("missing-folder", "Folder not found", "%v.", err)
	f.Keyword, f.Value = keyword, spec.Handler
	if find, ok := err.(*bundle.FindError); ok && len(find.Known) > 0 {
		f.Hint = "Did you mean \"" + find.Known[0] + "\"?"
	}
	return f
}
