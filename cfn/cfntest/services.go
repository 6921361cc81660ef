package cfntest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is STS and S3, as far as a deployer uses them.

func (s *Server) sts(w http.ResponseWriter, r *request) {
	switch r.Action {
	case "GetCallerIdentity":
		arn, id := "arn:aws:iam::"+Account+":user/tester", "AIDATEST"
		if r.Role != "" {
			arn, id = "arn:aws:sts::"+Account+":assumed-role/"+r.Role+"/session", "AROATEST:session"
		}
		r.answer(w, element{"Arn", arn}, element{"UserId", id}, element{"Account", Account})
	case "AssumeRole":
		arn := r.form.Get("RoleArn")
		name := arn[strings.LastIndex(arn, "/")+1:]
		if !strings.HasPrefix(arn, "arn:aws:iam::"+Account+":role/") || !s.roles[name] || s.denied[name] || r.form.Get("RoleSessionName") == "" {
			r.refuse(w, &Error{403, "AccessDenied", "User: arn:aws:iam::" + Account + ":user/tester is not authorized to perform: sts:AssumeRole on resource: " + arn})
			return
		}
		key := fmt.Sprintf("ASIATEST%08d", s.serial)
		s.keys[key] = name
		r.answer(w, element{"Credentials", []element{{"AccessKeyId", key}, {"SecretAccessKey", "secret"}, {"SessionToken", "token"},
			{"Expiration", s.now.Add(time.Hour).UTC().Format(time.RFC3339)}}},
			element{"AssumedRoleUser", []element{{"AssumedRoleId", "AROATEST:session"}, {"Arn", "arn:aws:sts::" + Account + ":assumed-role/" + name + "/session"}}})
	default:
		r.refuse(w, &Error{400, "InvalidAction", "Could not find operation " + r.Action})
	}
}

func s3Action(r *http.Request, object string) string {
	q := r.URL.Query()
	switch {
	case object == "" && q.Has("uploads"):
		return "ListMultipartUploads"
	case object == "" && q.Has("versions"):
		return "ListObjectVersions"
	case object == "" && r.Method == http.MethodPost && q.Has("delete"):
		return "DeleteObjects"
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return "ListParts"
	case object == "" && q.Has("location"):
		return "GetBucketLocation"
	case object == "" && q.Has("encryption"):
		return "GetBucketEncryption"
	case object == "" && r.Method == http.MethodGet:
		return "ListObjectsV2"
	case object == "" && r.Method == http.MethodHead:
		return "HeadBucket"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete && object != "":
		return "DeleteObject"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case r.Method == http.MethodGet:
		return "GetObject"
	}
	return r.Method
}

// upload is a multipart upload that is not complete.
type upload struct {
	id, bucket, key string
	begun           time.Time
	parts           map[int][]byte
}

// version is one of an object that is not the current one; data nil is a delete marker.
type version struct {
	key, id string
	data    []byte
}

func checksum(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
}

// minPart is the least that a part of a multipart upload has, the last one excepted.
const minPart = 5 << 20

func (s *Server) s3(w http.ResponseWriter, r *request) {
	bucket, ok := s.buckets[r.bucket]
	if !ok {
		r.refuse(w, &Error{404, "NoSuchBucket", "The specified bucket does not exist"})
		return
	}
	if owner := r.http.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != Account {
		r.refuse(w, &Error{403, "AccessDenied", "Access Denied"})
		return
	}
	reply := func(root element) {
		var b strings.Builder
		root.write(&b)
		w.Header().Set("Content-Type", "application/xml")
		io.WriteString(w, xml.Header+b.String())
	}
	query := r.http.URL.Query()
	if sum := r.http.Header.Get("X-Amz-Checksum-Crc32"); sum != "" && r.http.Method == http.MethodPut && sum != checksum(r.body) {
		r.refuse(w, &Error{400, "BadDigest", "The CRC32 you specified did not match the calculated checksum."})
		return
	}
	switch r.Action {
	case "GetBucketLocation":
		where := ""
		if !strings.HasSuffix(r.bucket, "us-east-1") {
			where = r.Region
		}
		reply(element{"LocationConstraint", where})
	case "GetBucketEncryption":
		reply(element{"ServerSideEncryptionConfiguration", []element{{"Rule", []element{{"ApplyServerSideEncryptionByDefault", []element{{"SSEAlgorithm", "AES256"}}}}}}})
	case "ListObjectsV2":
		root, most := []element{{"Name", r.bucket}, {"IsTruncated", "false"}}, 1000
		fmt.Sscan(query.Get("max-keys"), &most)
		for _, key := range slices.Sorted(maps.Keys(bucket)) {
			if strings.HasPrefix(key, query.Get("prefix")) {
				if most--; most < 0 {
					root[1].value = "true"
					break
				}
				root = append(root, element{"Contents", []element{{"Key", key}, {"Size", len(bucket[key])}, {"ETag", etag(bucket[key])}, {"LastModified", "2026-01-01T00:00:00.000Z"}}})
			}
		}
		reply(element{"ListBucketResult", root})
	case "ListObjectVersions":
		s.listVersions(r, reply)
	case "DeleteObjects":
		s.deleteObjects(w, r, reply)
	case "HeadBucket":
	case "PutObject":
		bucket[r.object] = r.body
		w.Header().Set("ETag", etag(r.body))
	case "DeleteObject":
		delete(bucket, r.object)
		w.WriteHeader(http.StatusNoContent)
	case "HeadObject", "GetObject":
		data, ok := bucket[r.object]
		if !ok {
			r.refuse(w, &Error{404, map[bool]string{true: "NotFound", false: "NoSuchKey"}[r.Action == "HeadObject"], "The specified key does not exist."})
			return
		}
		w.Header().Set("ETag", etag(data))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		if r.Action == "GetObject" {
			w.Write(data)
		}
	case "CreateMultipartUpload":
		u := &upload{id: fmt.Sprintf("upload-%d", s.serial), bucket: r.bucket, key: r.object, begun: s.now, parts: map[int][]byte{}}
		s.uploads[u.id] = u
		reply(element{"InitiateMultipartUploadResult", []element{{"Bucket", r.bucket}, {"Key", r.object}, {"UploadId", u.id}}})
	case "ListMultipartUploads":
		root := []element{{"Bucket", r.bucket}, {"IsTruncated", "false"}}
		for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
			if u := s.uploads[id]; u.bucket == r.bucket && strings.HasPrefix(u.key, query.Get("prefix")) {
				root = append(root, element{"Upload", []element{{"Key", u.key}, {"UploadId", id}, {"Initiated", stamp(u.begun)}, {"ChecksumAlgorithm", "CRC32"}}})
			}
		}
		reply(element{"ListMultipartUploadsResult", root})
	case "ListParts", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload":
		u := s.uploads[query.Get("uploadId")]
		if u == nil || u.bucket != r.bucket || u.key != r.object {
			r.refuse(w, &Error{404, "NoSuchUpload", "The specified upload does not exist."})
			return
		}
		s.onUpload(w, r, u, bucket, reply)
	default:
		r.refuse(w, &Error{501, "NotImplemented", r.Action})
	}
}

// current is the version id of objects in buckets that keep no others.
const current = "null"

func (s *Server) listVersions(r *request, reply func(element)) {
	all := slices.Clone(s.versions[r.bucket])
	for key, data := range s.buckets[r.bucket] {
		all = append(all, version{key, current, append([]byte{}, data...)})
	}
	slices.SortFunc(all, func(a, b version) int { return strings.Compare(a.key+"\x00"+a.id, b.key+"\x00"+b.id) })
	query, most := r.http.URL.Query(), s.options.PageSize
	fmt.Sscan(query.Get("max-keys"), &most)
	most = min(most, s.options.PageSize, 1000)
	after := query.Get("key-marker") + "\x00" + query.Get("version-id-marker")
	root, shown := []element{{"Name", r.bucket}, {"IsTruncated", "false"}}, 0
	for i, v := range all {
		if query.Has("key-marker") && strings.Compare(v.key+"\x00"+v.id, after) <= 0 {
			continue
		}
		name := "Version"
		if v.data == nil {
			name = "DeleteMarker"
		}
		root = append(root, element{name, []element{{"Key", v.key}, {"VersionId", v.id}, {"IsLatest", v.id == current}, {"LastModified", "2026-01-01T00:00:00.000Z"}}})
		if shown++; shown == most && i < len(all)-1 {
			root[1].value = "true"
			root = append(root, element{"NextKeyMarker", v.key}, element{"NextVersionIdMarker", v.id})
			break
		}
	}
	reply(element{"ListVersionsResult", root})
}

func (s *Server) deleteObjects(w http.ResponseWriter, r *request, reply func(element)) {
	var wanted struct {
		Object []struct{ Key, VersionId string }
	}
	if err := xml.Unmarshal(r.body, &wanted); err != nil || len(wanted.Object) == 0 || len(wanted.Object) > 1000 {
		r.refuse(w, &Error{400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema."})
		return
	}
	switch sum := r.http.Header.Get("X-Amz-Checksum-Crc32"); {
	case sum == "" && r.http.Header.Get("Content-Md5") == "":
		r.refuse(w, &Error{400, "InvalidRequest", "Missing required header for this request: Content-MD5"})
		return
	case sum != "" && sum != checksum(r.body):
		r.refuse(w, &Error{400, "BadDigest", "The CRC32 you specified did not match the calculated checksum."})
		return
	}
	var refused []element
	for _, o := range wanted.Object {
		fail := "object " + r.bucket + "/" + o.Key
		if code := s.fails[fail]; code != "" {
			if code == "SlowDown" {
				delete(s.fails, fail)
			}
			refused = append(refused, element{"Error", []element{{"Key", o.Key}, {"VersionId", o.VersionId}, {"Code", code}, {"Message", "Access Denied because object protected by object lock."}}})
			continue
		}
		if o.VersionId == current {
			delete(s.buckets[r.bucket], o.Key)
		}
		s.versions[r.bucket] = slices.DeleteFunc(s.versions[r.bucket], func(v version) bool { return v.key == o.Key && v.id == o.VersionId })
	}
	reply(element{"DeleteResult", refused})
}

// onUpload does what goes on with a multipart upload.
func (s *Server) onUpload(w http.ResponseWriter, r *request, u *upload, bucket map[string][]byte, reply func(element)) {
	numbers := slices.Sorted(maps.Keys(u.parts))
	switch r.Action {
	case "UploadPart":
		n, _ := strconv.Atoi(r.http.URL.Query().Get("partNumber"))
		u.parts[n] = r.body
		w.Header().Set("ETag", etag(r.body))
		w.Header().Set("X-Amz-Checksum-Crc32", checksum(r.body))
	case "ListParts":
		root := []element{{"Bucket", r.bucket}, {"Key", r.object}, {"UploadId", u.id}, {"IsTruncated", "false"}}
		for _, n := range numbers {
			root = append(root, element{"Part", []element{{"PartNumber", n}, {"ETag", etag(u.parts[n])}, {"Size", len(u.parts[n])}, {"ChecksumCRC32", checksum(u.parts[n])}}})
		}
		reply(element{"ListPartsResult", root})
	case "AbortMultipartUpload":
		delete(s.uploads, u.id)
		w.WriteHeader(http.StatusNoContent)
	case "CompleteMultipartUpload":
		var wanted struct {
			Part []struct {
				PartNumber    int
				ETag          string
				ChecksumCRC32 string
			}
		}
		if err := xml.Unmarshal(r.body, &wanted); err != nil || len(wanted.Part) == 0 {
			r.refuse(w, &Error{400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema."})
			return
		}
		var whole bytes.Buffer
		for i, p := range wanted.Part {
			data, there := u.parts[p.PartNumber]
			switch {
			case i > 0 && p.PartNumber <= wanted.Part[i-1].PartNumber:
				r.refuse(w, &Error{400, "InvalidPartOrder", "The list of parts was not in ascending order."})
				return
			case !there || p.ETag != etag(data) || p.ChecksumCRC32 != checksum(data):
				r.refuse(w, &Error{400, "InvalidPart", "One or more of the specified parts could not be found."})
				return
			case i < len(wanted.Part)-1 && len(data) < minPart:
				r.refuse(w, &Error{400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size."})
				return
			}
			whole.Write(data)
		}
		bucket[r.object] = whole.Bytes()
		delete(s.uploads, u.id)
		reply(element{"CompleteMultipartUploadResult", []element{{"Bucket", r.bucket}, {"Key", r.object}, {"ETag", etag(whole.Bytes())}}})
	}
}

func etag(data []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(data)) }

// unchunk takes the framing off an aws-chunked body: "<hex size>[;chunk-signature=...]\r\n<data>\r\n" ... "0\r\n<trailer>".
func unchunk(body []byte) ([]byte, error) {
	var plain bytes.Buffer
	for {
		line, rest, found := bytes.Cut(body, []byte("\r\n"))
		size, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if !found || err != nil || n < 0 || n > 0 && int64(len(rest)) < n+2 {
			return nil, errors.New("the chunks do not fit")
		}
		if n == 0 {
			return plain.Bytes(), nil
		}
		plain.Write(rest[:n])
		body = rest[n+2:]
	}
}
