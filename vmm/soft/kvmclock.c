/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm-clock: time pages in guest memory, written once.
 *
 * Guest ns and TSC are one linear relation (clock.h), so a page needs no updates: its origin is TSC
 * "tsc_offset", time 0. All vCPUs' pages say the same, hence the stable flag.
 * Ref: linux Documentation/virt/kvm/x86/msr.rst, arch/x86/include/asm/pvclock-abi.h.
 */
#include "base/checked.h"
#include "soft/clock.h"
#include "soft/sys.h"

#define MSR_WALL_OLD   0x11
#define MSR_SYSTEM_OLD 0x12
#define MSR_WALL_NEW   0x4b564d00
#define MSR_SYSTEM_NEW 0x4b564d01

#define KVM_FEATURES   0x40000001
#define FEATURE_CLOCK  (1U << 0)
#define FEATURE_CLOCK2 (1U << 3)

#define PVCLOCK_STABLE 1
#define TIME_INFO_SIZE 32
#define WALL_SIZE      12
#define PAIR_TRIES     5

bool kvmclock_has_msr(const struct cpu *cpu, uint32_t msr)
{
	switch (msr) {
	case MSR_WALL_OLD:
	case MSR_SYSTEM_OLD: return cpuid_bit(cpu, KVM_FEATURES, 0, FEATURE_CLOCK);
	case MSR_WALL_NEW:
	case MSR_SYSTEM_NEW: return cpuid_bit(cpu, KVM_FEATURES, 0, FEATURE_CLOCK2);
	default: return false;
	}
}

/*
 * ns = (tsc << shift) * mul >> 32 with the top bit of mul set: mul / 2^32 is the ns a tick, divided
 * by 2^shift.
 */
static void scale_for(uint32_t tsc_khz, uint32_t *ret_mul, int8_t *ret_shift)
{
	unsigned __int128 f = ((unsigned __int128)1000000 << 64) / tsc_khz; /* ns a tick, 64.64 */
	int shift = 0;

	for (; f >> 64; shift++)
		f >>= 1;
	for (; !(f >> 63); shift--)
		f <<= 1;
	*ret_mul = (uint32_t)(f >> 32);
	*ret_shift = (int8_t)shift;
}

static void write_time_info(struct cpu *cpu, gpa_t gpa)
{
	uint8_t buf[TIME_INFO_SIZE] = { 0 };
	uint32_t mul;
	int8_t shift;

	scale_for(cpu->vm->clock->tsc_khz, &mul, &shift);
	le32_store(buf, 2); /* version: even, stable */
	le64_store(buf + 8, cpu->tsc_offset);
	le64_store(buf + 16, 0);
	le32_store(buf + 24, mul);
	buf[28] = (uint8_t)shift;
	buf[29] = PVCLOCK_STABLE;
	gmem_write(cpu->vm->mem, gpa, buf, sizeof(buf));
}

/*
 * Wall-clock time at guest time 0: of some pairs of both clocks the one that was read the fastest, since this
 * thread may have to wait in between.
 */
static uint64_t wall_at_zero(struct soft_clock *c)
{
	uint64_t best = UINT64_MAX, zero = 0;

	for (unsigned i = 0; i < PAIR_TRIES; i++) {
		uint64_t before = soft_clock_ns(c), wall = clock_realtime_ns();
		uint64_t took = soft_clock_ns(c) - before;

		if (took < best)
			zero = wall - (before + took / 2);
		best = MIN(best, took);
	}
	return zero;
}

static void write_wall(struct cpu *cpu, gpa_t gpa)
{
	uint64_t boot = wall_at_zero(cpu->vm->clock);
	uint8_t buf[WALL_SIZE];

	le32_store(buf, 2);
	le32_store(buf + 4, (uint32_t)(boot / NSEC_PER_SEC));
	le32_store(buf + 8, (uint32_t)(boot % NSEC_PER_SEC));
	gmem_write(cpu->vm->mem, gpa, buf, sizeof(buf));
}

static bool is_wall(uint32_t msr)
{
	return msr == MSR_WALL_OLD || msr == MSR_WALL_NEW;
}

uint64_t kvmclock_read(const struct cpu *cpu, uint32_t msr)
{
	return is_wall(msr) ? cpu->kvm_wall_clock : cpu->kvm_system_time;
}

void kvmclock_write(struct cpu *cpu, uint32_t msr, uint64_t val)
{
	if (is_wall(msr)) {
		cpu->kvm_wall_clock = val;
		write_wall(cpu, val);
		return;
	}
	cpu->kvm_system_time = val;
	if (val & 1)
		write_time_info(cpu, val & ~1ULL);
}
