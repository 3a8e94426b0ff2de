/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyboard controller without a keyboard: answers its self-test and pulses the reset line.
 * Ref: IBM PS/2 hardware interface technical reference, keyboard/auxiliary device controller.
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

#define STATUS_OBF	 0x01
#define STATUS_SYS	 0x04

#define CMD_READ_CTR	 0x20
#define CMD_WRITE_CTR	 0x60
#define CMD_DISABLE_AUX	 0xa7
#define CMD_TEST_AUX	 0xa9
#define CMD_SELF_TEST	 0xaa
#define CMD_TEST_KBD	 0xab
#define CMD_READ_OUTPUT	 0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_PULSE_RESET	 0xfe

#define OUTPUT_RESET	 0x01 /* active low */
#define OUTPUT_A20	 0x02

struct i8042 {
	struct device dev; /* first */
	struct power_line power;
	uint8_t ctr;
	uint8_t command; /* waits for its data byte, or 0 */
	uint8_t answer;
	bool answer_ready;
};

static void answer(struct i8042 *kbc, uint8_t byte)
{
	kbc->answer = byte;
	kbc->answer_ready = true;
}

static void i8042_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	if (size == 1)
		*ret_val = STATUS_SYS | (kbc->answer_ready ? STATUS_OBF : 0);
}

static void run_command(struct i8042 *kbc, uint8_t command)
{
	kbc->command = 0;
	switch (command) {
	case CMD_READ_CTR: answer(kbc, kbc->ctr); break;
	case CMD_SELF_TEST: answer(kbc, 0x55); break;
	case CMD_TEST_KBD: answer(kbc, 0x00); break;
	case CMD_TEST_AUX: answer(kbc, 0xff); break;
	case CMD_READ_OUTPUT: answer(kbc, OUTPUT_RESET | OUTPUT_A20); break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_OUTPUT: kbc->command = command; break;
	case CMD_PULSE_RESET: power_request(&kbc->power, POWER_EVENT_RESET, 0); break;
	default: break;
	}
}

static void take_data(struct i8042 *kbc, uint8_t byte)
{
	if (kbc->command == CMD_WRITE_CTR)
		kbc->ctr = byte;
	else if (kbc->command == CMD_WRITE_OUTPUT && !(byte & OUTPUT_RESET))
		power_request(&kbc->power, POWER_EVENT_RESET, 0);
	kbc->command = 0;
}

static void i8042_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	if (size == 1)
		run_command((struct i8042 *)dev, (uint8_t)val);
}

static void i8042_reset(struct device *dev)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	kbc->ctr = kbc->command = kbc->answer = 0;
	kbc->answer_ready = false;
}

static void i8042_free(struct device *dev)
{
	free(dev);
}

static const struct state_desc i8042_state = {
	.name = "i8042",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct i8042, ctr, STATE_U8, 1),
			STATE_FIELD(struct i8042, command, STATE_U8, 1),
			STATE_FIELD(struct i8042, answer, STATE_U8, 1),
			STATE_FIELD(struct i8042, answer_ready, STATE_BOOL, 1),
			{ .type = STATE_END },
		},
};

static const struct device_ops i8042_ops = {
	.name = "i8042",
	.read = i8042_read,
	.write = i8042_write,
	.reset = i8042_reset,
	.state = &i8042_state,
	.free = i8042_free,
};

int i8042_new(const struct power_line *power, struct device **ret, struct err *err)
{
	struct i8042 *kbc = calloc(1, sizeof(*kbc));

	if (!kbc)
		return err_set(err, -ENOMEM, "no memory for the keyboard controller");
	device_init(&kbc->dev, &i8042_ops);
	kbc->power = *power;
	*ret = &kbc->dev;
	return 0;
}

/* ---- port 0x60 ---- */

struct i8042_data {
	struct device dev; /* first; holds nothing: all state is the controller's, under its lock */
	struct i8042 *kbc;
};

static void data_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct i8042 *kbc = ((struct i8042_data *)dev)->kbc;

	pthread_mutex_lock(&kbc->dev.lock);
	*ret_val = kbc->answer_ready ? kbc->answer : 0;
	kbc->answer_ready = false;
	pthread_mutex_unlock(&kbc->dev.lock);
}

static void data_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *kbc = ((struct i8042_data *)dev)->kbc;

	pthread_mutex_lock(&kbc->dev.lock);
	take_data(kbc, (uint8_t)val);
	pthread_mutex_unlock(&kbc->dev.lock);
}

static const struct device_ops i8042_data_ops = {
	.name = "i8042-data",
	.read = data_read,
	.write = data_write,
	.free = i8042_free,
};

int i8042_data_new(struct device *kbc, struct device **ret, struct err *err)
{
	struct i8042_data *data = calloc(1, sizeof(*data));

	if (!data)
		return err_set(err, -ENOMEM, "no memory for the keyboard controller");
	device_init(&data->dev, &i8042_data_ops);
	data->kbc = (struct i8042 *)kbc;
	*ret = &data->dev;
	return 0;
}
