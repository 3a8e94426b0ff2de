/* SPDX-License-Identifier: Apache-2.0 */
/* State of the IOAPIC and the PIC in the kernel, in the form of the soft back end's. */
#define LOG_MODULE "vmm/kvm"
#include "kvm/irqchip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "devices/ioapic.h"
#include "devices/pic.h"
#include "kvm/kvm.h"

struct kvm_chips {
	struct hv_vm *vm;
	/* Only as places for the values: nothing here is ever asked to work. */
	struct ioapic ioapic;
	struct pic pic;
};

#define ICW3_MASTER    0x04 /* the slave is on line 2 */
#define ICW3_SLAVE     0x02
#define ELCR_MASK_0    0xf8 /* lines that could be level-triggered */
#define ELCR_MASK_1    0xde
#define REDIR_DEFINED  0xff0000000001ffffULL
#define IOAPIC_DEFAULT 0xfec00000ULL

int kvm_chips_new(struct hv_vm *vm, struct kvm_chips **ret, struct err *err)
{
	struct kvm_chips *chips = calloc(1, sizeof(*chips));

	if (!chips)
		return err_set(err, -ENOMEM, "no memory for the interrupt controllers' state");
	chips->vm = vm;
	*ret = chips;
	return 0;
}

void kvm_chips_free(struct kvm_chips *chips)
{
	free(chips);
}

/* ---- out ---- */

static void pic_from_kvm(const struct kvm_pic_state *k, unsigned which, struct pic_chip *c)
{
	*c = (struct pic_chip){
		.irr = k->irr,
		.isr = k->isr,
		.imr = k->imr,
		.levels = k->last_irr,
		.base = k->irq_base,
		.icw3 = which ? ICW3_SLAVE : ICW3_MASTER,
		/* KVM counts the ICWs that have come, ours names the next. */
		.icw_step = k->init_state ? (uint8_t)((k->init_state & 3) + 1) : 0,
		.lowest = (uint8_t)((k->priority_add + 7) & 7),
		.need_icw4 = k->init4 != 0,
		.auto_eoi = k->auto_eoi != 0,
		.rotate_on_auto_eoi = k->rotate_on_auto_eoi != 0,
		.special_mask = k->special_mask != 0,
		.special_nested = k->special_fully_nested_mode != 0,
		.read_isr = k->read_reg_select != 0,
		.poll = k->poll != 0,
		.ready = !k->init_state && k->irq_base,
	};
}

static void ioapic_from_kvm(const struct kvm_ioapic_state *k, struct ioapic *io)
{
	io->select = (uint8_t)k->ioregsel;
	io->id = (uint8_t)(k->id & 0xf);
	io->levels = k->irr & ((1U << IOAPIC_N_PINS) - 1);
	for (unsigned i = 0; i < IOAPIC_N_PINS; i++)
		io->redir[i] = k->redirtbl[i].bits & REDIR_DEFINED;
}

static void pre_save(void *obj)
{
	struct kvm_chips *chips = obj;
	struct hv_vm *vm = chips->vm;

	for (uint32_t id = 0; id < KVM_NR_IRQCHIPS; id++) {
		struct kvm_irqchip k = { .chip_id = id };

		if (vm->ioctl(vm->fd, KVM_GET_IRQCHIP, &k) < 0)
			log_err("get interrupt controller %u from KVM: %s", id, err_str(errno));
		else if (id == KVM_IRQCHIP_IOAPIC)
			ioapic_from_kvm(&k.chip.ioapic, &chips->ioapic);
		else
			pic_from_kvm(&k.chip.pic, id, &chips->pic.chips[id]);
	}
}

/* ---- in ---- */

static void pic_to_kvm(const struct pic_chip *c, unsigned which, struct kvm_pic_state *k)
{
	*k = (struct kvm_pic_state){
		.last_irr = c->levels,
		.irr = c->irr,
		.imr = c->imr,
		.isr = c->isr,
		.priority_add = (c->lowest + 1) & 7,
		.irq_base = c->base,
		.read_reg_select = c->read_isr,
		.poll = c->poll,
		.special_mask = c->special_mask,
		.init_state = c->icw_step ? (uint8_t)(c->icw_step - 1) : 0,
		.auto_eoi = c->auto_eoi,
		.rotate_on_auto_eoi = c->rotate_on_auto_eoi,
		.special_fully_nested_mode = c->special_nested,
		.init4 = c->need_icw4,
		.elcr_mask = which ? ELCR_MASK_1 : ELCR_MASK_0,
	};
}

static void ioapic_to_kvm(const struct ioapic *io, struct kvm_ioapic_state *k)
{
	*k = (struct kvm_ioapic_state){
		.base_address = IOAPIC_DEFAULT,
		.ioregsel = io->select,
		.id = io->id,
		.irr = io->levels,
	};
	for (unsigned i = 0; i < IOAPIC_N_PINS; i++)
		k->redirtbl[i].bits = io->redir[i];
}

static int post_load(void *obj, struct err *err)
{
	struct kvm_chips *chips = obj;
	struct hv_vm *vm = chips->vm;
	int r = 0;

	for (uint32_t id = 0; r == 0 && id < KVM_NR_IRQCHIPS; id++) {
		struct kvm_irqchip k = { .chip_id = id };

		if (id == KVM_IRQCHIP_IOAPIC)
			ioapic_to_kvm(&chips->ioapic, &k.chip.ioapic);
		else
			pic_to_kvm(&chips->pic.chips[id], id, &k.chip.pic);
		if (vm->ioctl(vm->fd, KVM_SET_IRQCHIP, &k) < 0)
			r = err_errno(err, errno, "give interrupt controller %u to KVM", id);
	}
	return r;
}

const struct state_desc kvm_chips_state_desc = {
	.name = "irqchip",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct kvm_chips, ioapic, &ioapic_state_desc, 1, 1),
			STATE_SUB(struct kvm_chips, pic, &pic_state_desc, 1, 1),
			{ .type = STATE_END },
		},
	.pre_save = pre_save,
	.post_load = post_load,
};
