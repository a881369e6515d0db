package onnxio

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
)

// folder is where the external data of a model lies. Locations come from
// files of unknown origin, so only a plain file that has one name, in the
// folder or below it and reached without a link, is opened.
type folder struct {
	dir    string
	verify bool

	mu    sync.Mutex
	files map[string]*mapping // by location
}

func newFolder(o OpenOptions) *folder {
	return &folder{dir: o.Dir, verify: o.Checksum, files: map[string]*mapping{}}
}

// elements returns the n mapped bytes of a tensor.
func (f *folder) elements(e *graph.External, n int) ([]byte, error) {
	m, err := f.file(e)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.Location, err)
	}
	if err := checkRange(e, n, int64(len(m.data))); err != nil {
		return nil, err
	}
	return m.data[e.Offset : e.Offset+int64(n) : e.Offset+int64(n)], nil
}

func checkRange(e *graph.External, n int, size int64) error {
	if e.Offset > size || int64(n) > size-e.Offset {
		return fmt.Errorf("%q has %d bytes, want %d at offset %d", e.Location, size, n, e.Offset)
	}
	return nil
}

// file returns the mapped file at the location of e.
func (f *folder) file(e *graph.External) (*mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.files[e.Location]; m != nil {
		return m, nil
	}
	opened, err := f.openChecked(e)
	if err != nil {
		return nil, err
	}
	m, err := mapOpened(opened)
	if err != nil {
		return nil, err
	}
	m.location = e.Location
	f.files[e.Location] = m
	return m, nil
}

// load reads the n bytes of a tensor into memory.
func (f *folder) load(e *graph.External, n int) ([]byte, error) {
	opened, err := f.openChecked(e)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.Location, err)
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return nil, bare(err)
	}
	if err := checkRange(e, n, info.Size()); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := opened.ReadAt(b, e.Offset); err != nil {
		return nil, fmt.Errorf("%q: %w", e.Location, bare(err))
	}
	return b, nil
}

func (f *folder) openChecked(e *graph.External) (*os.File, error) {
	opened, err := openInside(f.dir, e.Location)
	if err != nil {
		return nil, err
	}
	if f.verify && e.Checksum != "" {
		if err := verifyChecksum(opened, e.Checksum); err != nil {
			opened.Close()
			return nil, err
		}
	}
	return opened, nil
}

// verifyChecksum compares a file with its SHA-1 in hexadecimal digits.
func verifyChecksum(f *os.File, want string) error {
	h := sha1.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return bare(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, want) {
		return fmt.Errorf("checksum is %s, want %s", got, want)
	}
	return nil
}

func (f *folder) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, m := range f.files {
		errs = append(errs, m.close())
	}
	clear(f.files)
	return errors.Join(errs...)
}

// checkLocation refuses a location that could mean something outside the
// model's folder on any system.
func checkLocation(location string) error {
	switch {
	case strings.HasPrefix(location, "/") || strings.HasPrefix(location, `\`) || filepath.IsAbs(location):
		return errors.New("is an absolute path, want one relative to the model's folder")
	case strings.ContainsRune(location, 0):
		return errors.New("holds a zero byte, which no path has")
	case !filepath.IsLocal(filepath.FromSlash(location)):
		return errors.New("leads out of the model's folder")
	}
	for part := range strings.FieldsFuncSeq(location, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return errors.New(`holds "..", which a location may not`)
		}
	}
	return nil
}

// openInside opens the plain file that location names in dir. The root keeps
// the path inside dir even if somebody changes it meanwhile; the checks give
// reasons and refuse what leads elsewhere by another way.
func openInside(dir, location string) (*os.File, error) {
	if err := checkLocation(location); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("model folder: %w", err)
	}
	defer root.Close()
	path := filepath.Clean(filepath.FromSlash(location))
	info, err := plainFile(root, path)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		f.Close()
		return nil, errors.New("was replaced while it was opened")
	}
	return f, nil
}

func plainFile(root *os.Root, path string) (fs.FileInfo, error) {
	var info fs.FileInfo
	parts := strings.Split(path, string(filepath.Separator))
	for i := range parts {
		var err error
		info, err = root.Lstat(filepath.Join(parts[:i+1]...))
		switch {
		case err != nil:
			return nil, bare(err)
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, errors.New("is reached through a symbolic link, want a plain file")
		}
	}
	switch {
	case info.IsDir():
		return nil, errors.New("is a folder, want a plain file")
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("is a special file (%v), want a plain file", info.Mode().Type())
	case linkCount(info) > 1:
		return nil, errors.New("has several names (hard links), want a plain file with one")
	}
	return info, nil
}
