package targets

import "slices"

// Feature sets, each including the one before it.
var (
	sse2   []string // what every amd64 has
	avx2   = extend(sse2, "avx2", "bmi2", "f16c", "fma3")
	avx512 = extend(avx2, "avx512bw", "avx512dq", "avx512f", "avx512vl")
	vnni   = extend(avx512, "avx512vnni")
	amx    = extend(vnni, "amxbf16", "amxint8", "amxtile")

	neon    = []string{"asimd"}
	dotprod = extend(neon, "asimddp")
	i8mm    = extend(dotprod, "i8mm")
)

func extend(base []string, more ...string) []string {
	all := slices.Concat(base, more)
	slices.Sort(all)
	return all
}

// profiles lists the named targets, each with the caches of a common server or
// desktop core of its kind.
func profiles() []Target {
	return []Target{
		{
			Name: "amd64-sse2", Doc: "any amd64, portable kernels", Arch: "amd64",
			Features: sse2, VectorBytes: 16, Caches: Caches{32 << 10, 256 << 10, 8 << 20},
			Peak: Peak{F32: 4, Int8: 8}, Saturates: true,
		},
		{
			Name: "amd64-avx2", Doc: "AVX2 with FMA: Haswell, Zen and later", Arch: "amd64",
			Features: avx2, VectorBytes: 32, Caches: Caches{32 << 10, 512 << 10, 16 << 20},
			Peak: Peak{F32: 16, Int8: 24}, Saturates: true,
		},
		{
			Name: "amd64-avxvnni", Doc: "AVX2 with AVX-VNNI: Alder Lake and later", Arch: "amd64",
			Features: extend(avx2, "avxvnni"), VectorBytes: 32, Caches: Caches{48 << 10, 1280 << 10, 30 << 20},
			Peak: Peak{F32: 16, Int8: 64},
		},
		{
			Name: "amd64-avx512", Doc: "AVX-512 without VNNI: Skylake server", Arch: "amd64",
			Features: avx512, VectorBytes: 64, Caches: Caches{32 << 10, 1 << 20, 32 << 20},
			Peak: Peak{F32: 32, Int8: 42}, Saturates: true,
		},
		{
			Name: "amd64-avx512-vnni", Doc: "AVX-512 with VNNI: Cascade Lake, Zen 4 and later", Arch: "amd64",
			Features: vnni, VectorBytes: 64, Caches: Caches{48 << 10, 1 << 20, 32 << 20},
			Peak: Peak{F32: 32, Int8: 128},
		},
		{
			Name: "amd64-amx", Doc: "AVX-512 with VNNI and AMX: Sapphire Rapids and later", Arch: "amd64",
			Features: amx, VectorBytes: 64, Caches: Caches{48 << 10, 2 << 20, 64 << 20},
			Peak: Peak{F32: 32, Int8: 1024, BF16: 512},
		},
		{
			Name: "arm64-neon", Doc: "any arm64", Arch: "arm64",
			Features: neon, VectorBytes: 16, Caches: Caches{32 << 10, 512 << 10, 2 << 20},
			Peak: Peak{F32: 8, Int8: 16},
		},
		{
			Name: "arm64-neon-dotprod", Doc: "NEON with dot products: Cortex-A76, Graviton 2, Apple M1 and later", Arch: "arm64",
			Features: dotprod, VectorBytes: 16, Caches: Caches{64 << 10, 1 << 20, 32 << 20},
			Peak: Peak{F32: 8, Int8: 32},
		},
		{
			Name: "arm64-neon-i8mm", Doc: "NEON with int8 matrix products: Graviton 3, Apple M2 and later", Arch: "arm64",
			Features: i8mm, VectorBytes: 16, Caches: Caches{64 << 10, 1 << 20, 32 << 20},
			Peak: Peak{F32: 16, Int8: 128},
		},
	}
}
