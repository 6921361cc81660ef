package cloud

// S3 in front of its storage: what is there, who may, presigned URLs, and notifications.

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"

	"sst/runtime/queues"
)

// s3Others are those that S3 has and this has not: an object's bytes would be taken for them.
var s3Others = []string{"acl", "tagging", "torrent", "restore", "select", "retention", "legal-hold", "attributes", "versioning", "versions", "versionId", "policy", "cors",
	"lifecycle", "notification", "encryption", "website", "logging", "replication", "accelerate", "requestPayment", "inventory", "analytics", "metrics", "object-lock",
	"ownershipControls", "publicAccessBlock", "intelligent-tiering", "policyStatus", "session", "renameObject"}

// serveS3 answers a call to S3.
func (c *Cloud) serveS3(w http.ResponseWriter, r *http.Request, req *call) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	if host, _, ok := strings.Cut(r.Host, ".s3."); ok && host != "" { // http://bucket.s3.localhost:port/key
		key, bucket = strings.TrimPrefix(r.URL.Path, "/"), host
		r.URL.Path = "/" + bucket + r.URL.Path
		r.URL.RawPath = ""
	}
	req.op = s3Name(r, bucket, key, query)
	if req.op == "" {
		req.op = r.Method + " " + r.URL.Path
		for _, part := range s3Others {
			if query.Has(part) {
				req.op = r.Method + " ?" + part
			}
		}
		req.unknown(w)
		return
	}
	if query.Has("X-Amz-Signature") && req.caller != nil && r.Method != http.MethodOptions {
		if err := c.presigned(r, req.caller, r.Method); err != nil {
			req.refuse(w, err)
			return
		}
	}
	arn := "arn:aws:s3:::" + bucket
	if key != "" {
		arn += "/" + key
	} else if req.op == "DeleteObject" {
		arn += "/*"
	} else if req.op == "ListAllMyBuckets" {
		arn = "*"
	}
	err := error(nil)
	if r.Method != http.MethodOptions {
		err = req.may("s3:"+req.op, arn)
	}
	from := strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/")
	if from != "" && err == nil {
		from, _ = url.PathUnescape(from)
		from, _, _ = strings.Cut(from, "?")
		err = req.may("s3:GetObject", "arn:aws:s3:::"+from)
	}
	if err != nil {
		req.refuse(w, err)
		return
	}
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK, sums: r.Header.Get("X-Amz-Checksum-Mode") != "" || r.Method == http.MethodPut}
	switch found, err := c.objects.find(bucket, key); {
	case key == "" || r.Method != http.MethodGet && r.Method != http.MethodHead || query.Has("uploadId"):
		if query.Has("partNumber") && from != "" {
			c.copyPart(answer, r, req, bucket, key, from)
			return
		}
		if from != "" && from == bucket+"/"+key && !strings.EqualFold(r.Header.Get("X-Amz-Metadata-Directive"), "REPLACE") {
			req.refuse(w, &Error{Code: "InvalidRequest", Message: "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."})
			return
		}
	case err == nil && found != nil:
		if status := conditionOf(r.Header, found); status == http.StatusNotModified {
			w.Header().Set("ETag", found.etag())
			w.WriteHeader(status)
			return
		} else if status != 0 {
			req.refuse(w, &Error{Status: status, Code: "PreconditionFailed", Message: "At least one of the pre-conditions you specified did not hold"})
			return
		}
		for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
			r.Header.Del(name)
		}
		answer.etag = found.etag()
	}
	for _, name := range carried { // the library keeps what begins with X-Amz-
		if value := r.Header.Get(name); value != "" && r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Header.Set(carrier+name, value)
		}
	}
	c.s3.ServeHTTP(answer, r)
	if !answer.written {
		answer.WriteHeader(answer.status)
		answer.ResponseWriter.Write(answer.held)
	}
	if answer.status >= 300 || key == "" {
		return
	}
	switch {
	case r.Method == http.MethodDelete && !query.Has("uploadId"):
		c.changed(bucket, key, "ObjectRemoved:Delete")
	case r.Method == http.MethodPost && query.Has("uploadId"):
		c.changed(bucket, key, "ObjectCreated:CompleteMultipartUpload")
	case r.Method == http.MethodPut && !query.Has("partNumber") && from != "":
		c.changed(bucket, key, "ObjectCreated:Copy")
	case r.Method == http.MethodPut && !query.Has("partNumber"):
		c.changed(bucket, key, "ObjectCreated:Put")
	}
}

// s3Name is the permission that a request needs; "" when there is no such operation here.
func s3Name(r *http.Request, bucket, key string, query url.Values) string {
	if slices.ContainsFunc(s3Others, query.Has) {
		return ""
	}
	switch {
	case r.Method == http.MethodOptions:
		return "OPTIONS"
	case bucket == "":
		if r.Method == http.MethodGet {
			return "ListAllMyBuckets"
		}
	case key == "":
		switch {
		case r.Method == http.MethodGet && query.Has("location"):
			return "GetBucketLocation"
		case r.Method == http.MethodGet && query.Has("uploads"):
			return "ListBucketMultipartUploads"
		case r.Method == http.MethodGet, r.Method == http.MethodHead:
			return "ListBucket"
		case r.Method == http.MethodPost && query.Has("delete"):
			return "DeleteObject"
		}
	case query.Has("uploadId") && r.Method == http.MethodDelete:
		return "AbortMultipartUpload"
	case query.Has("uploadId") && r.Method == http.MethodGet:
		return "ListMultipartUploadParts"
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return "GetObject"
	case r.Method == http.MethodPut, r.Method == http.MethodPost && (query.Has("uploads") || query.Has("uploadId")):
		return "PutObject"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	}
	return ""
}

type statusWriter struct {
	http.ResponseWriter
	status int
	sums   bool // checksums are wanted
	etag   string

	written bool // the header is
	late    bool // it waits for the body, which names the error
	held    []byte
}

// carried are headers of an object that the library would drop; they are kept behind carrier.
var carried = []string{"Cache-Control", "Content-Language", "Expires"}

const carrier = "X-Amz-Sst-"

func sameETag(wanted, etag string) bool {
	return wanted == "*" || strings.Trim(wanted, `"`) == strings.Trim(etag, `"`)
}

// conditionOf is the status of a read whose conditions do not hold; 0 when they do.
func conditionOf(h http.Header, one *object) int {
	modified := one.Modified.Truncate(time.Second)
	if wanted := h.Get("If-Match"); wanted != "" {
		if !sameETag(wanted, one.etag()) {
			return http.StatusPreconditionFailed
		}
	} else if at, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(at) {
		return http.StatusPreconditionFailed
	}
	if wanted := h.Get("If-None-Match"); wanted != "" {
		if sameETag(wanted, one.etag()) {
			return http.StatusNotModified
		}
	} else if at, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(at) {
		return http.StatusNotModified
	}
	return 0
}

// copyPart answers UploadPartCopy.
func (c *Cloud) copyPart(w http.ResponseWriter, r *http.Request, req *call, bucket, key, from string) {
	fail := func(err error) {
		var known *gofakes3.ErrorResponse
		var code gofakes3.ErrorCode
		switch {
		case errors.As(err, &known):
			err = &Error{Status: known.Code.Status(), Code: string(known.Code), Message: known.Message}
		case errors.As(err, &code):
			err = &Error{Status: code.Status(), Code: string(code), Message: string(code)}
		}
		req.refuse(w, err)
	}
	fromBucket, fromKey, _ := strings.Cut(from, "/")
	var wanted *gofakes3.ObjectRangeRequest
	if text := r.Header.Get("X-Amz-Copy-Source-Range"); text != "" {
		var first, last int64
		if n, err := fmt.Sscanf(text, "bytes=%d-%d", &first, &last); n != 2 || err != nil || last < first {
			fail(&Error{Code: "InvalidArgument", Message: "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"})
			return
		}
		wanted = &gofakes3.ObjectRangeRequest{Start: first, End: last}
	}
	source, err := c.objects.GetObject(fromBucket, fromKey, wanted)
	if err != nil {
		fail(err)
		return
	}
	defer source.Contents.Close()
	size := source.Size
	if source.Range != nil {
		size = source.Range.Length
	}
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10000 {
		fail(&Error{Code: "InvalidArgument", Message: "Part number must be an integer between 1 and 10000, inclusive"})
		return
	}
	etag, err := c.objects.UploadPart(bucket, key, gofakes3.UploadID(r.URL.Query().Get("uploadId")), number, size, source.Contents)
	if err != nil {
		fail(err)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CopyPartResult><ETag>%s</ETag><LastModified>%s</LastModified></CopyPartResult>", escape(etag), time.Now().UTC().Format(time.RFC3339))
}

func (w *statusWriter) WriteHeader(status int) {
	if status == http.StatusInternalServerError && !w.late { // the library's for each error that it does not name
		w.status, w.late = status, true
		return
	}
	w.status, w.written = status, true
	if w.etag != "" {
		w.Header().Set("ETag", w.etag)
	}
	for _, name := range carried {
		if value := w.Header().Get(carrier + name); value != "" {
			w.Header().Set(name, value)
			w.Header().Del(carrier + name)
		}
	}
	if !w.sums || status == http.StatusPartialContent { // they are those of the whole object
		for name := range w.Header() {
			if strings.HasPrefix(name, "X-Amz-Checksum-") {
				w.Header().Del(name)
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(data []byte) (int, error) {
	if w.late && !w.written {
		if w.held = append(w.held, data...); !bytes.Contains(w.held, []byte("</Code>")) {
			return len(data), nil
		}
		if bytes.Contains(w.held, []byte("<Code>"+errTooSmall)) {
			w.status = http.StatusBadRequest
		}
		w.WriteHeader(w.status)
		_, err := w.ResponseWriter.Write(w.held)
		return len(data), err
	}
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(data)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// changed tells the network of an object.
func (c *Cloud) changed(bucket, key, event string) {
	about := c.app.Load().named(typeBucket, bucket)
	if about == nil {
		return
	}
	change := fields{"key": key, "eventName": event}
	if one, err := c.objects.find(bucket, key); err == nil && one != nil {
		change["size"], change["eTag"] = one.Size, strings.Trim(one.etag(), `"`)
	}
	body, err := json.Marshal(change)
	if err == nil {
		c.opts.Network.Deliver(about.Source, queues.Message{ID: newID(), Body: body})
	}
}

// pageMay says whether a page's request is one that a function has presigned.
func (c *Cloud) pageMay(app *App, r *http.Request, caller *Caller, presigned bool) bool {
	if caller == nil || !presigned {
		return false
	}
	return r.Method == http.MethodOptions || c.presigned(r, caller, r.Method) == nil
}

// presigned checks the signature of a URL that a function has made.
func (c *Cloud) presigned(r *http.Request, caller *Caller, method string) error {
	query := r.URL.Query()
	at, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	seconds, bad := strconv.Atoi(query.Get("X-Amz-Expires"))
	parts := strings.Split(query.Get("X-Amz-Credential"), "/")
	if err != nil || bad != nil || len(parts) < 5 {
		return &Error{Status: http.StatusBadRequest, Code: "AuthorizationQueryParametersError", Message: "Error parsing the query parameters of the signature"}
	}
	if time.Since(at) > time.Duration(seconds)*time.Second {
		return &Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Request has expired"}
	}
	given := query.Get("X-Amz-Signature")
	query.Del("X-Amz-Signature")
	headers := strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
	var canonical strings.Builder
	canonical.WriteString(method + "\n" + r.URL.EscapedPath() + "\n" + strings.ReplaceAll(query.Encode(), "+", "%20") + "\n")
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		canonical.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	payload := "UNSIGNED-PAYLOAD"
	if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" {
		payload = hash
	}
	canonical.WriteString("\n" + strings.Join(headers, ";") + "\n" + payload)
	sum := sha256.Sum256([]byte(canonical.String()))
	scope := strings.Join(parts[len(parts)-4:], "/")
	key := []byte("AWS4" + caller.Secret)
	for _, part := range parts[len(parts)-4:] {
		key = keyed(key, part)
	}
	want := hex.EncodeToString(keyed(key, "AWS4-HMAC-SHA256\n"+query.Get("X-Amz-Date")+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	if subtle.ConstantTimeCompare([]byte(want), []byte(given)) != 1 {
		return &Error{Status: http.StatusForbidden, Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	}
	return nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
