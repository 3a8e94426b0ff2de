/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A serial port.
 *
 * Theory of operation. No baud rate: a byte written to THR moves at once to the output ring, and
 * THRE stays set while the ring has room for a whole FIFO. Input is read from the host only while
 * the receive ring has room, so a guest that does not read makes the host side wait. The interrupt
 * line is the OR of the enabled causes; serial_update_irq() after every change. Ref: PC16550D data
 * sheet, sections 8.4-8.8.
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/charout.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RDI	      0x01
#define IER_THRI      0x02
#define IER_RLSI      0x04
#define IER_MSI	      0x08

#define IIR_NONE      0x01
#define IIR_MSI	      0x00
#define IIR_THRI      0x02
#define IIR_RDI	      0x04
#define IIR_RLSI      0x06
#define IIR_FIFO      0xc0

#define FCR_ENABLE    0x01
#define FCR_CLEAR_RX  0x02

#define LCR_DLAB      0x80
#define MCR_RTS	      0x02
#define MCR_LOOP      0x10
#define LSR_DR	      0x01
#define LSR_OE	      0x02
#define LSR_THRE      0x20
#define LSR_TEMT      0x40

#define MSR_DELTA     0x0f
#define MSR_CTS	      0x10
#define MSR_DSR	      0x20
#define MSR_RI	      0x40
#define MSR_DCD	      0x80
#define MSR_CONNECTED (MSR_CTS | MSR_DSR | MSR_DCD)

#define RX_SIZE	      256
#define FIFO_SIZE     16
#define STALL_MS      1000

struct serial {
	struct device dev; /* first; its lock guards all below */
	struct irq_line irq;
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	bool thr_pending; /* THRE interrupt not yet taken */
	bool overrun;
	bool mcr_written; /* since reset: RTS means something */
	bool has_looped;  /* @looped came back in loopback mode */
	uint8_t looped;
	bool irq_level;
	uint8_t rx[RX_SIZE];
	uint16_t rx_head, rx_count;

	struct charout out;
	struct loop *loop;
	int in_fd;
	bool in_stopped; /* not watched: the ring was full */
	struct loop_watch in_watch;
	struct loop_event in_event; /* the ring has room again */
};

static bool tx_ready(const struct serial *s)
{
	return charout_room(&s->out) >= FIFO_SIZE;
}

static bool rx_ready(const struct serial *s)
{
	if (s->mcr & MCR_LOOP)
		return s->has_looped;
	return s->rx_count && (!s->mcr_written || (s->mcr & MCR_RTS));
}

static uint8_t serial_iir(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && s->overrun)
		return IIR_RLSI;
	if ((s->ier & IER_RDI) && rx_ready(s))
		return IIR_RDI;
	if ((s->ier & IER_THRI) && s->thr_pending && tx_ready(s))
		return IIR_THRI;
	if ((s->ier & IER_MSI) && (s->msr & MSR_DELTA))
		return IIR_MSI;
	return IIR_NONE;
}

static void serial_update_irq(struct serial *s)
{
	bool level = serial_iir(s) != IIR_NONE;

	if (level == s->irq_level)
		return;
	s->irq_level = level;
	irq_set(&s->irq, level);
}

static void rx_push(struct serial *s, uint8_t byte)
{
	if (s->rx_count == RX_SIZE) {
		s->overrun = true;
		return;
	}
	s->rx[(s->rx_head + s->rx_count) % RX_SIZE] = byte;
	s->rx_count++;
}

static uint8_t rx_pop(struct serial *s)
{
	uint8_t byte;

	if (!rx_ready(s))
		return 0;
	if (s->mcr & MCR_LOOP) {
		s->has_looped = false;
		return s->looped;
	}
	byte = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % RX_SIZE;
	s->rx_count--;
	if (s->rx_count == 0 && s->in_stopped) {
		s->in_stopped = false;
		loop_event_set(&s->in_event);
	}
	return byte;
}

static uint8_t serial_msr(struct serial *s)
{
	uint8_t msr = s->msr;

	if (s->mcr & MCR_LOOP)
		msr = (uint8_t)((s->mcr & 0x01 ? MSR_DSR : 0) | (s->mcr & 0x02 ? MSR_CTS : 0) |
				(s->mcr & 0x04 ? MSR_RI : 0) | (s->mcr & 0x08 ? MSR_DCD : 0) |
				(s->msr & MSR_DELTA));
	s->msr &= (uint8_t)~MSR_DELTA;
	return msr;
}

static uint8_t serial_lsr(struct serial *s)
{
	uint8_t lsr = (uint8_t)((rx_ready(s) ? LSR_DR : 0) | (s->overrun ? LSR_OE : 0) |
				(tx_ready(s) ? LSR_THRE | LSR_TEMT : 0));

	s->overrun = false;
	return lsr;
}

static uint8_t serial_read_iir(struct serial *s)
{
	uint8_t iir = serial_iir(s);

	if (iir == IIR_THRI)
		s->thr_pending = false;
	return (uint8_t)(iir | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t serial_read_reg(struct serial *s, uint64_t reg)
{
	switch (reg) {
	case REG_DATA: return s->lcr & LCR_DLAB ? s->dll : rx_pop(s);
	case REG_IER: return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR_FCR: return serial_read_iir(s);
	case REG_LCR: return s->lcr;
	case REG_MCR: return s->mcr;
	case REG_LSR: return serial_lsr(s);
	case REG_MSR: return serial_msr(s);
	default: return s->scr;
	}
}

static void serial_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct serial *s = (struct serial *)dev;

	if (size != 1)
		return;
	*ret_val = serial_read_reg(s, off);
	serial_update_irq(s);
}

static void serial_write_data(struct serial *s, uint8_t byte)
{
	s->thr_pending = true;
	if (s->mcr & MCR_LOOP) {
		s->overrun |= s->has_looped;
		s->has_looped = true;
		s->looped = byte;
		return;
	}
	(void)charout_put(&s->out, &byte, 1);
}

static void serial_write_ier(struct serial *s, uint8_t val)
{
	if ((val & IER_THRI) && !(s->ier & IER_THRI))
		s->thr_pending = true;
	s->ier = val & 0x0f;
}

static void serial_write_fcr(struct serial *s, uint8_t val)
{
	if ((val & FCR_CLEAR_RX) || ((val ^ s->fcr) & FCR_ENABLE))
		s->has_looped = false;
	s->fcr = val & 0xc9;
}

static void serial_write_mcr(struct serial *s, uint8_t val)
{
	s->mcr = val & 0x1f;
	s->mcr_written = true;
}

static void serial_write(struct device *dev, uint64_t off, unsigned size, uint64_t val64)
{
	struct serial *s = (struct serial *)dev;
	uint8_t val = (uint8_t)val64;

	if (size != 1)
		return;
	switch (off) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = val;
		else
			serial_write_data(s, val);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->dlm = val;
		else
			serial_write_ier(s, val);
		break;
	case REG_IIR_FCR: serial_write_fcr(s, val); break;
	case REG_LCR: s->lcr = val; break;
	case REG_MCR: serial_write_mcr(s, val); break;
	case REG_SCR: s->scr = val; break;
	default: break; /* LSR and MSR are read-only */
	}
	serial_update_irq(s);
}

static void serial_reset(struct device *dev)
{
	struct serial *s = (struct serial *)dev;

	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->dlm = 0;
	s->dll = 12; /* 9600 baud, as firmware leaves it */
	s->msr = MSR_CONNECTED;
	s->thr_pending = s->overrun = s->mcr_written = s->has_looped = false;
	serial_update_irq(s);
}

/* The output ring has room again (lock held). */
static void on_out_room(void *opaque)
{
	serial_update_irq(opaque);
}

/*
 * Move bytes from the host into the ring. When it is full or the input has ended the watch is
 * removed, not just emptied: a hang-up would be reported again and again.
 */
static void on_input(void *opaque, uint32_t events)
{
	struct serial *s = opaque;
	uint8_t buf[RX_SIZE];
	ssize_t n = -1;
	size_t room;

	pthread_mutex_lock(&s->dev.lock);
	room = (size_t)(RX_SIZE - s->rx_count);
	if (room)
		n = read(s->in_fd, buf, room);
	if (room && (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))) {
		loop_watch_remove(&s->in_watch);
	} else {
		for (ssize_t i = 0; i < n; i++)
			rx_push(s, buf[i]);
		s->in_stopped = s->rx_count == RX_SIZE;
		if (s->in_stopped)
			loop_watch_remove(&s->in_watch);
	}
	serial_update_irq(s);
	pthread_mutex_unlock(&s->dev.lock);
}

static void on_in_event(void *opaque)
{
	struct serial *s = opaque;

	if (!s->in_watch.loop)
		(void)loop_watch_add(s->loop, &s->in_watch, s->in_fd, EPOLLIN, on_input, s);
}

static void serial_quiesce(struct device *dev)
{
	charout_flush(&((struct serial *)dev)->out, STALL_MS);
}

static int serial_post_load(void *obj, struct err *err)
{
	struct serial *s = obj;

	if (s->rx_head >= RX_SIZE || s->rx_count > RX_SIZE || !charout_valid(&s->out))
		return err_set(err, -EBADMSG, "serial: ring indices out of range");
	if (s->out.count && s->out.fd >= 0)
		loop_event_set(&s->out.kick);
	return 0;
}

#define F(member, type) STATE_FIELD(struct serial, member, type, 1)

static const struct state_desc serial_state = {
	.name = "serial",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			F(ier, STATE_U8),	    F(fcr, STATE_U8),
			F(lcr, STATE_U8),	    F(mcr, STATE_U8),
			F(msr, STATE_U8),	    F(scr, STATE_U8),
			F(dll, STATE_U8),	    F(dlm, STATE_U8),
			F(thr_pending, STATE_BOOL), F(overrun, STATE_BOOL),
			F(mcr_written, STATE_BOOL), F(has_looped, STATE_BOOL),
			F(looped, STATE_U8),	    F(irq_level, STATE_BOOL),
			F(rx, STATE_BYTES),	    F(rx_head, STATE_U16),
			F(rx_count, STATE_U16),	    CHAROUT_STATE_FIELDS(struct serial, out),
			{ .type = STATE_END },
		},
	.post_load = serial_post_load,
};

static void serial_free(struct device *dev)
{
	struct serial *s = (struct serial *)dev;

	charout_done(&s->out);
	loop_watch_remove(&s->in_watch);
	loop_event_done(&s->in_event);
	free(s);
}

static const struct device_ops serial_ops = {
	.name = "serial",
	.read = serial_read,
	.write = serial_write,
	.reset = serial_reset,
	.quiesce = serial_quiesce,
	.state = &serial_state,
	.free = serial_free,
};

static int serial_watch_input(struct serial *s, struct loop *loop)
{
	int ret;

	if (s->in_fd < 0)
		return 0;
	ret = loop_event_init(loop, &s->in_event, on_in_event, s);
	if (ret < 0)
		return ret;
	return loop_watch_add(loop, &s->in_watch, s->in_fd, EPOLLIN, on_input, s);
}

int serial_new(struct loop *loop, const struct console_backend *backend, const struct irq_line *irq,
	       struct device **ret, struct err *err)
{
	struct serial *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "no memory for the serial port");
	device_init(&s->dev, &serial_ops);
	s->irq = *irq;
	s->loop = loop;
	s->in_fd = backend->in_fd;
	r = charout_init(&s->out, loop, backend->out_fd, &s->dev.lock, on_out_room, s);
	if (r == 0)
		r = serial_watch_input(s, loop);
	if (r < 0) {
		device_free(&s->dev);
		return err_errno(err, -r, "attach the serial port");
	}
	serial_reset(&s->dev);
	*ret = &s->dev;
	return 0;
}
