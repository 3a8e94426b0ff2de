/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General implementations of instructions: what the decoder's tables point to.
 *
 * Each is an insn_exec_fn (insn.h has the contract). Where one function stands for several
 * instructions it tells them apart by map, opcode, modrm and prefixes. The decoder has already
 * refused illegal encodings, misplaced LOCK, instructions that the CPUID features or the mode
 * (64-bit, protected) rule out and memory or register forms that do not exist; privilege, CR0/CR4
 * gates (TS, EM, OSFXSR) and everything else that can change between decoding and execution are the
 * function's business.
 */
#ifndef SOFT_EXEC_H
#define SOFT_EXEC_H

#include "soft/insn.h"

#define EXEC_DECLARE(name) enum insn_result name(struct cpu *cpu, const struct insn *in)

/* clang-format off */

/* ---- system.c and friends ---- */
EXEC_DECLARE(exec_mov_cr);	  /* 0F 20 / 22; mod is ignored, rm is always a register */
EXEC_DECLARE(exec_mov_dr);	  /* 0F 21 / 23 */
EXEC_DECLARE(exec_mov_from_seg);  /* 8C: register form zero-extends to op_size, memory form is 2 bytes */
EXEC_DECLARE(exec_mov_to_seg);	  /* 8E: CS refused by the decoder */
EXEC_DECLARE(exec_push_seg);	  /* 06 0E 16 1E, 0F A0 / A8 */
EXEC_DECLARE(exec_pop_seg);	  /* 07 17 1F, 0F A1 / A9 */
EXEC_DECLARE(exec_load_far);	  /* LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5 */
EXEC_DECLARE(exec_far_jmp);	  /* EA (imm, imm2), FF /5 */
EXEC_DECLARE(exec_far_call);	  /* 9A (imm, imm2), FF /3 */
EXEC_DECLARE(exec_far_ret);	  /* CA (imm), CB */
EXEC_DECLARE(exec_iret);	  /* CF by op_size */
EXEC_DECLARE(exec_int);		  /* CD (imm) */
EXEC_DECLARE(exec_int3);	  /* CC */
EXEC_DECLARE(exec_int1);	  /* F1 */
EXEC_DECLARE(exec_into);	  /* CE */
EXEC_DECLARE(exec_syscall);	  /* 0F 05 */
EXEC_DECLARE(exec_sysret);	  /* 0F 07, op_size 8 with REX.W */
EXEC_DECLARE(exec_sysenter);	  /* 0F 34 */
EXEC_DECLARE(exec_sysexit);	  /* 0F 35 */
EXEC_DECLARE(exec_in);		  /* E4 E5 (imm), EC ED; op_size 1, 2 or 4 */
EXEC_DECLARE(exec_out);		  /* E6 E7 (imm), EE EF */
EXEC_DECLARE(exec_ins);		  /* 6C 6D, with REP by prefix */
EXEC_DECLARE(exec_outs);	  /* 6E 6F */
EXEC_DECLARE(exec_hlt);		  /* F4 */
EXEC_DECLARE(exec_pause);	  /* F3 90 */
EXEC_DECLARE(exec_cli);		  /* FA */
EXEC_DECLARE(exec_sti);		  /* FB */
EXEC_DECLARE(exec_pushf);	  /* 9C by op_size */
EXEC_DECLARE(exec_popf);	  /* 9D by op_size */
EXEC_DECLARE(exec_cpuid);	  /* 0F A2 */
EXEC_DECLARE(exec_rdtsc);	  /* 0F 31 */
EXEC_DECLARE(exec_rdtscp);	  /* 0F 01 F9 */
EXEC_DECLARE(exec_rdpmc);	  /* 0F 33 */
EXEC_DECLARE(exec_rdpid);	  /* F3 0F C7 /7, register */
EXEC_DECLARE(exec_rdmsr);	  /* 0F 32 */
EXEC_DECLARE(exec_wrmsr);	  /* 0F 30 */
EXEC_DECLARE(exec_sgdt);	  /* 0F 01 /0 */
EXEC_DECLARE(exec_sidt);	  /* 0F 01 /1 */
EXEC_DECLARE(exec_lgdt);	  /* 0F 01 /2 */
EXEC_DECLARE(exec_lidt);	  /* 0F 01 /3 */
EXEC_DECLARE(exec_smsw);	  /* 0F 01 /4 */
EXEC_DECLARE(exec_lmsw);	  /* 0F 01 /6 */
EXEC_DECLARE(exec_invlpg);	  /* 0F 01 /7, memory */
EXEC_DECLARE(exec_swapgs);	  /* 0F 01 F8 */
EXEC_DECLARE(exec_clac);	  /* 0F 01 CA */
EXEC_DECLARE(exec_stac);	  /* 0F 01 CB */
EXEC_DECLARE(exec_xgetbv);	  /* 0F 01 D0 */
EXEC_DECLARE(exec_xsetbv);	  /* 0F 01 D1 */
EXEC_DECLARE(exec_vmcall);	  /* 0F 01 C1 and D9 (VMMCALL): hypercall */
EXEC_DECLARE(exec_monitor);	  /* 0F 01 C8 */
EXEC_DECLARE(exec_mwait);	  /* 0F 01 C9 */
EXEC_DECLARE(exec_sldt);	  /* 0F 00 /0 */
EXEC_DECLARE(exec_str);		  /* 0F 00 /1 */
EXEC_DECLARE(exec_lldt);	  /* 0F 00 /2 */
EXEC_DECLARE(exec_ltr);		  /* 0F 00 /3 */
EXEC_DECLARE(exec_verr);	  /* 0F 00 /4 */
EXEC_DECLARE(exec_verw);	  /* 0F 00 /5 */
EXEC_DECLARE(exec_lar);		  /* 0F 02 */
EXEC_DECLARE(exec_lsl);		  /* 0F 03 */
EXEC_DECLARE(exec_arpl);	  /* 63 outside 64-bit mode */
EXEC_DECLARE(exec_clts);	  /* 0F 06 */
EXEC_DECLARE(exec_invd);	  /* 0F 08 */
EXEC_DECLARE(exec_wbinvd);	  /* 0F 09 */
EXEC_DECLARE(exec_clflush);	  /* 0F AE /7, memory */
EXEC_DECLARE(exec_invpcid);	  /* 66 0F 38 82 */
EXEC_DECLARE(exec_fsgsbase);	  /* F3 0F AE /0-3, register: RDFSBASE RDGSBASE WRFSBASE WRGSBASE */
EXEC_DECLARE(exec_rdrand);	  /* 0F C7 /6, register */
EXEC_DECLARE(exec_rdseed);	  /* 0F C7 /7, register */

/* ---- stub.c ---- */
EXEC_DECLARE(exec_fxsave);	  /* 0F AE /0, memory */
EXEC_DECLARE(exec_fxrstor);	  /* 0F AE /1, memory */
EXEC_DECLARE(exec_ldmxcsr);	  /* 0F AE /2, memory */
EXEC_DECLARE(exec_stmxcsr);	  /* 0F AE /3, memory */
EXEC_DECLARE(exec_x87);		  /* D8 to DF; mem_size and mem_rw are set */
EXEC_DECLARE(exec_fwait);	  /* 9B */
/* Everything with MMX or XMM registers, EMMS, MASKMOVDQU, also where the other operand is a GPR. CRC32 not. */
EXEC_DECLARE(exec_sse);

/* ---- interp/: integer instructions ---- */
EXEC_DECLARE(exec_ud);		/* raises #UD: UD0, UD1, UD2 */
EXEC_DECLARE(exec_nop);		/* NOP, PAUSE, ENDBR, prefetches, fences */
EXEC_DECLARE(exec_alu);		/* ADD OR ADC SBB AND SUB XOR CMP */
EXEC_DECLARE(exec_test);
EXEC_DECLARE(exec_mov);		/* also moffs and MOVNTI */
EXEC_DECLARE(exec_movx);	/* MOVZX MOVSX MOVSXD */
EXEC_DECLARE(exec_movbe);
EXEC_DECLARE(exec_lea);
EXEC_DECLARE(exec_xchg);
EXEC_DECLARE(exec_xadd);
EXEC_DECLARE(exec_cmpxchg);
EXEC_DECLARE(exec_cmpxchg8b);	/* and 16B */
EXEC_DECLARE(exec_cmov);
EXEC_DECLARE(exec_setcc);
EXEC_DECLARE(exec_push);
EXEC_DECLARE(exec_pop);
EXEC_DECLARE(exec_pusha);
EXEC_DECLARE(exec_popa);
EXEC_DECLARE(exec_enter);
EXEC_DECLARE(exec_leave);
EXEC_DECLARE(exec_call);	/* near */
EXEC_DECLARE(exec_jmp);
EXEC_DECLARE(exec_ret);
EXEC_DECLARE(exec_jcc);
EXEC_DECLARE(exec_loop);	/* LOOPNE LOOPE LOOP JCXZ */
EXEC_DECLARE(exec_shift);	/* ROL ROR RCL RCR SHL SHR SAR */
EXEC_DECLARE(exec_shd);		/* SHLD SHRD */
EXEC_DECLARE(exec_incdec);
EXEC_DECLARE(exec_notneg);
EXEC_DECLARE(exec_mul);		/* MUL, IMUL with one operand */
EXEC_DECLARE(exec_imul);	/* IMUL with two or three */
EXEC_DECLARE(exec_div);		/* DIV, IDIV */
EXEC_DECLARE(exec_bt);		/* BT BTS BTR BTC */
EXEC_DECLARE(exec_bitscan);	/* BSF BSR TZCNT LZCNT POPCNT */
EXEC_DECLARE(exec_bswap);
EXEC_DECLARE(exec_cbw);		/* CBW CWDE CDQE */
EXEC_DECLARE(exec_cwd);		/* CWD CDQ CQO */
EXEC_DECLARE(exec_flagop);	/* CLC STC CMC CLD STD LAHF SAHF SALC */
EXEC_DECLARE(exec_bcd);		/* AAA AAS AAD AAM DAA DAS */
EXEC_DECLARE(exec_bound);
EXEC_DECLARE(exec_xlat);
EXEC_DECLARE(exec_movs);
EXEC_DECLARE(exec_stos);
EXEC_DECLARE(exec_lods);
EXEC_DECLARE(exec_scas);
EXEC_DECLARE(exec_cmps);
EXEC_DECLARE(exec_crc32);
EXEC_DECLARE(exec_bmi);		/* VEX: ANDN BLSR BLSMSK BLSI BZHI BEXTR PEXT PDEP MULX RORX SARX SHLX SHRX */
EXEC_DECLARE(exec_adx);		/* ADCX ADOX */

/* clang-format on */

#endif
