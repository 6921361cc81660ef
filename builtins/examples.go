package builtins

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"regexp"
	"strings"
	"sync"

	"sst/builtins/jsii"
)

//go:generate go run ./internal/examples examples.txt.gz

// packedExamples is written by internal/examples, which says what is in it.
//
//go:embed examples.txt.gz
var packedExamples []byte

// examplesText is unpacked when an example is asked for first: 300 KB.
var examplesText = sync.OnceValue(func() string {
	z, err := gzip.NewReader(bytes.NewReader(packedExamples))
	if err != nil {
		panic(err) // it is part of the program
	}
	text, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return string(text)
})

// ExampleOf is what the CDK's documentation shows for a class ("cdk.aws_s3.Bucket"), in Starlark; "" when there is nothing.
func ExampleOf(class string) string {
	if !strings.HasPrefix(class, "cdk.") {
		return ""
	}
	_, after, ok := strings.Cut(examplesText(), "\x00"+class+"\n")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(after, "\x00")
	return code
}

// typeScriptBlock is an example in the text of the CDK's documentation, with the line that announces it.
var typeScriptBlock = regexp.MustCompile("(?ms)\\s*(?:^[^\\n`]*[Ee]xample[^\\n`]*:[ \\t]*\\n\\s*)?^[ \\t]*```(?:ts|typescript|js|javascript)\\b.*?^[ \\t]*```[ \\t]*\\s*")

// withoutTypeScript leaves examples of another language out.
func withoutTypeScript(text string) string {
	if !strings.Contains(text, "```") {
		return text
	}
	return strings.TrimSpace(typeScriptBlock.ReplaceAllString(text, "\n\n"))
}

var resourceType = regexp.MustCompile(`\bAWS::[A-Za-z0-9]+::[A-Za-z0-9]+\b`)

// ResourceType is the type in CloudFormation of what a class of the CDK ("cdk.aws_sqs.Queue") or a construct of ours
// ("sst.Queue") makes first of all; "" when the metadata does not say.
func ResourceType(class string) string {
	if strings.HasPrefix(class, "sst.") {
		page, err := Document(class)
		if err != nil || page.Resource == "" {
			return ""
		}
		class = page.Resource
	}
	class, ok := strings.CutPrefix(class, "cdk.")
	dot := strings.LastIndexByte(class, '.')
	if !ok || dot < 0 {
		return ""
	}
	m, ok := jsii.Index().Module(class[:dot])
	if !ok {
		return ""
	}
	name := class[dot+1:]
	for _, own := range []string{"Cfn" + name, "Cfn" + strings.ToUpper(name)} {
		t, ok := m.Type(own)
		if !ok {
			continue
		}
		doc := t.Doc()
		if found := resourceType.FindString(doc.Summary + " " + doc.Remarks); found != "" { // of this service, often another resource
			return found[:strings.LastIndexByte(found, ':')+1] + strings.TrimPrefix(own, "Cfn")
		}
	}
	return ""
}
