package targets

import (
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// Host is the profile of the CPU the process runs on, named "host": its real
// features, caches and cores, with the figures of the best named profile whose
// features it has.
func Host() Target {
	t := detect()
	t.Features = slices.Clone(t.Features)
	return t
}

// Brand is the CPU's own name, "" if it does not say.
func Brand() string { return strings.TrimSpace(cpuid.CPU.BrandName) }

var detect = sync.OnceValue(func() Target {
	host := Target{Name: "host", Doc: "this machine", Arch: runtime.GOARCH, Features: features(), VectorBytes: 8}
	for _, p := range profiles() {
		if p.Arch == host.Arch && host.Has(p.Features...) {
			host.Doc = "this machine, as " + p.Name
			host.VectorBytes, host.Caches, host.Peak, host.Saturates = p.VectorBytes, p.Caches, p.Peak, p.Saturates
		}
	}
	host.Cores = runtime.NumCPU()
	known := cpuid.CPU.Cache
	host.Caches = Caches{
		L1D: orElse(known.L1D, host.Caches.L1D),
		L2:  orElse(known.L2, host.Caches.L2),
		L3:  orElse(known.L3, host.Caches.L3),
	}
	return host
})

// features lists what the CPU and the operating system allow.
func features() []string {
	var names []string
	for _, f := range cpuid.CPU.FeatureSet() {
		names = append(names, strings.ToLower(f))
	}
	if runtime.GOARCH == "arm64" && !slices.Contains(names, "asimd") {
		names = append(names, "asimd") // part of the base architecture
	}
	slices.Sort(names)
	return names
}

func orElse(v, fallback int) int {
	if v > 0 {
		return v
	}
	return fallback
}
