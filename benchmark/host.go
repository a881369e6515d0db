package benchmark

import (
	"runtime"

	"github.com/onnxpack/onnxpack/targets"
)

// Host tells machines apart in reports of measurements.
type Host struct {
	CPU        string `json:"cpu"`    // the CPU's own name
	Target     string `json:"target"` // the profile that it comes nearest to
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Cores      int    `json:"cores"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
}

// ThisHost describes the machine the program runs on.
func ThisHost() Host {
	t := targets.Host()
	return Host{
		CPU: targets.Brand(), Target: t.Doc, OS: runtime.GOOS, Arch: runtime.GOARCH,
		Cores: t.Cores, GOMAXPROCS: runtime.GOMAXPROCS(0), Go: runtime.Version(),
	}
}
