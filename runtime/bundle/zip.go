package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/flate"
)

// zipTime is what all files in an archive are dated: the earliest that the format can say. (The CDK does the same.)
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Zip gives the archive that Lambda takes. It is the same for the same Hash: sorted names, fixed times and modes.
func (r *Result) Zip() []byte {
	if r.archive != "" {
		if data, err := os.ReadFile(r.archive); err == nil {
			return data
		}
	}
	return pack(r.Files)
}

// pack writes to memory, so that nothing can fail but a file too large for the format, which Lambda's limit of 250 MB
// excludes.
func pack(files []File) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, 6) })
	for _, f := range files {
		header := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: zipTime}
		header.SetMode(f.Mode)
		body, err := w.CreateHeader(header)
		if err == nil {
			_, err = body.Write(f.Data)
		}
		if err != nil {
			panic(fmt.Sprintf("bundle: zip %s: %v", f.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("bundle: zip: %v", err))
	}
	return out.Bytes()
}
