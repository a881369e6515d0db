package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrMissing says that ONNX Runtime, or the helper that runs it, is not to be
// found.
var ErrMissing = errors.New("ONNX Runtime is not installed")

// Environment variables that name what is to be used.
const (
	LibraryEnv = "ONNXPACK_ORT"        // ONNX Runtime's shared library
	HelperEnv  = "ONNXPACK_ORT_HELPER" // the onnxpack-ort program
)

// Install is where ONNX Runtime and the helper are.
type Install struct {
	Library string
	Helper  string
	hold    string
}

// CanHold says why [Install.As] cannot work on this machine; nil if it can.
func CanHold() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return errors.New("ONNX Runtime can be held to fewer instructions on Linux for amd64 only")
	}
	if _, err := exec.LookPath("objdump"); err != nil {
		return fmt.Errorf("objdump, of binutils, is needed to hold ONNX Runtime to fewer instructions: %w", err)
	}
	return nil
}

// As returns the same install on a CPU of the named profile (package targets),
// which has fewer instructions than this one: it runs the kernels that it has
// for such a CPU, at their full speed, where [CanHold] says that it can.
func (in Install) As(profile string) Install {
	in.hold = profile
	return in
}

// Command returns what starts the helper.
func (in Install) Command() *exec.Cmd {
	if in.hold != "" {
		return exec.Command(in.Helper, "-hold", in.hold, in.Library)
	}
	return exec.Command(in.Helper, in.Library)
}

// Find locates ONNX Runtime: the library that ONNXPACK_ORT names, one beside
// this program, or one that npm installed in node_modules or
// build/judges/node_modules of the working folder or a folder above it. The
// helper is the one that ONNXPACK_ORT_HELPER names or the one beside this
// program; within the project's source it is built. The error wraps
// [ErrMissing].
func Find(ctx context.Context) (Install, error) {
	library, err := findLibrary()
	if err != nil {
		return Install{}, err
	}
	helper, err := findHelper(ctx)
	if err != nil {
		return Install{}, err
	}
	return Install{Library: library, Helper: helper}, nil
}

func findLibrary() (string, error) {
	if path := os.Getenv(LibraryEnv); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("%w: %s names %s, which is no file", ErrMissing, LibraryEnv, path)
		}
		return path, nil
	}
	var folders []string
	if exe, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(exe))
	}
	for _, dir := range upward() {
		for _, under := range []string{"build/judges/node_modules", "node_modules"} {
			folders = append(folders, filepath.Join(dir, under, "onnxruntime-node/bin/napi-v6", nodePlatform()))
		}
	}
	for _, dir := range folders {
		for _, pattern := range libraryNames() {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 { // the pattern is well formed
				return found[0], nil
			}
		}
	}
	return "", fmt.Errorf("%w: set %s to the path of its shared library, or run "+
		"npm install --ignore-scripts onnxruntime-node in build/judges", ErrMissing, LibraryEnv)
}

// nodePlatform is how onnxruntime-node names this system's folder.
func nodePlatform() string {
	system, arch := runtime.GOOS, runtime.GOARCH
	if system == "windows" {
		system = "win32"
	}
	if arch == "amd64" {
		arch = "x64"
	}
	return filepath.Join(system, arch)
}

func libraryNames() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"libonnxruntime*.dylib"}
	case "windows":
		return []string{"onnxruntime.dll"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so*"}
}

// upward lists the working folder and those above it.
func upward() []string {
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	dirs := []string{dir}
	for parent := filepath.Dir(dir); parent != dir; parent = filepath.Dir(dir) {
		dir = parent
		dirs = append(dirs, dir)
	}
	return dirs
}

func findHelper(ctx context.Context) (string, error) {
	if path := os.Getenv(HelperEnv); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("%w: %s names %s, which is no file", ErrMissing, HelperEnv, path)
		}
		return path, nil
	}
	if exe, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(exe), "onnxpack-ort"+exeSuffix()); isFile(path) {
			return path, nil
		}
	}
	for _, dir := range upward() {
		if isFile(filepath.Join(dir, "cmd/onnxpack-ort/main.go")) {
			return buildHelper(ctx, dir)
		}
	}
	return "", fmt.Errorf("%w: the program onnxpack-ort is not beside this one; set %s to its path", ErrMissing, HelperEnv)
}

// buildHelper builds the helper of a source tree into the user's cache.
func buildHelper(ctx context.Context, root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no folder to build onnxpack-ort in: %w", ErrMissing, err)
	}
	key := sha256.Sum256([]byte(root))
	path := filepath.Join(cache, "onnxpack", hex.EncodeToString(key[:6]), "onnxpack-ort"+exeSuffix())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/onnxpack-ort")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: building onnxpack-ort: %w\n%s", ErrMissing, err, strings.TrimSpace(string(out)))
	}
	return path, nil
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
