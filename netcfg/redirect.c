/* SPDX-License-Identifier: Apache-2.0 */
/* Redirection of what arrives at an interface: an ingress qdisc, and one u32 filter with mirred. */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <netlink/cache.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include "priv.h"

#define INGRESS	    TC_HANDLE(0xffffU, 0)
/* By which our filter is known again. */
#define FILTER_PRIO 0x6875

CLEANUP_DEFINE(struct rtnl_qdisc, rtnl_qdisc_put);
CLEANUP_DEFINE(struct rtnl_cls, rtnl_cls_put);

static int make_qdisc(int index, struct rtnl_qdisc **ret, struct err *err)
{
	struct rtnl_qdisc *q = rtnl_qdisc_alloc();

	if (!q)
		return err_set(err, -ENOMEM, "ingress qdisc");
	rtnl_tc_set_ifindex(TC_CAST(q), index);
	rtnl_tc_set_parent(TC_CAST(q), TC_H_INGRESS);
	rtnl_tc_set_handle(TC_CAST(q), INGRESS);
	rtnl_tc_set_kind(TC_CAST(q), "ingress");
	*ret = q;
	return 0;
}

static int make_filter(int index, struct rtnl_cls **ret, struct err *err)
{
	struct rtnl_cls *cls = rtnl_cls_alloc();

	if (!cls)
		return err_set(err, -ENOMEM, "redirection");
	rtnl_tc_set_ifindex(TC_CAST(cls), index);
	rtnl_tc_set_parent(TC_CAST(cls), INGRESS);
	rtnl_cls_set_prio(cls, FILTER_PRIO);
	rtnl_cls_set_protocol(cls, ETH_P_ALL);
	*ret = cls;
	return 0;
}

static int add_action(struct rtnl_cls *cls, int to)
{
	struct rtnl_act *act = rtnl_act_alloc();
	int r;

	if (!act)
		return -NLE_NOMEM;
	r = rtnl_tc_set_kind(TC_CAST(act), "mirred");
	if (r == 0)
		r = rtnl_mirred_set_action(act, TCA_EGRESS_REDIR);
	if (r == 0)
		r = rtnl_mirred_set_policy(act, TC_ACT_STOLEN);
	if (r == 0)
		r = rtnl_mirred_set_ifindex(act, (uint32_t)to);
	if (r == 0)
		r = rtnl_u32_add_action(cls, act);
	rtnl_act_put(act);
	return r;
}

int netcfg_redirect(struct nl_sock *sk, int from, int to, struct err *err)
{
	CLEANUP(rtnl_qdisc_putp) struct rtnl_qdisc *q = NULL;
	CLEANUP(rtnl_cls_putp) struct rtnl_cls *cls = NULL;
	int r = make_qdisc(from, &q, err);

	if (r == 0)
		r = make_filter(from, &cls, err);
	if (r < 0)
		return r;
	r = rtnl_qdisc_add(sk, q, NLM_F_CREATE | NLM_F_EXCL);
	if (r < 0 && r != -NLE_EXIST)
		return netcfg_nl_err(err, r, "add an ingress qdisc (kernel module sch_ingress)");
	r = rtnl_tc_set_kind(TC_CAST(cls), "u32");
	if (r == 0)
		r = rtnl_u32_add_key(cls, 0, 0, 0, 0);
	if (r == 0)
		r = rtnl_u32_set_cls_terminal(cls);
	if (r == 0)
		r = add_action(cls, to);
	if (r == 0)
		r = rtnl_cls_add(sk, cls, NLM_F_CREATE | NLM_F_EXCL);
	if (r < 0)
		return netcfg_nl_err(err, r,
				     "redirect packets (kernel modules cls_u32, act_mirred)");
	return 0;
}

/* What is at the ingress of an interface. */
struct found {
	unsigned n_ours, n_others;
	bool leads_on; /* one of ours to an interface that is there */
};

static void look(struct rtnl_cls *cls, struct nl_cache *links, struct found *ret)
{
	struct rtnl_act *act;

	if (rtnl_cls_get_prio(cls) != FILTER_PRIO) {
		ret->n_others++;
		return;
	}
	ret->n_ours++;
	/* The hash table of the filter is listed, too, without an action. */
	act = rtnl_u32_get_action(cls);
	if (act) {
		struct rtnl_link *to = rtnl_link_get(links, (int)rtnl_mirred_get_ifindex(act));

		ret->leads_on |= to != NULL;
		rtnl_link_put(to);
	}
}

static int look_for(struct nl_sock *sk, int from, struct nl_cache *links, struct found *ret,
		    struct err *err)
{
	struct nl_cache *cache;
	int r = rtnl_cls_alloc_cache(sk, from, INGRESS, &cache);

	*ret = (struct found){ 0 };
	if (r < 0)
		return netcfg_nl_err(err, r, "list redirections");
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
		look((struct rtnl_cls *)o, links, ret);
	nl_cache_free(cache);
	return 0;
}

int netcfg_unredirect(struct nl_sock *sk, int from, struct nl_cache *links, struct err *err)
{
	CLEANUP(rtnl_qdisc_putp) struct rtnl_qdisc *q = NULL;
	CLEANUP(rtnl_cls_putp) struct rtnl_cls *cls = NULL;
	struct found found;
	int r = look_for(sk, from, links, &found, err);

	if (r < 0 || !found.n_ours || found.leads_on)
		return r;
	r = make_filter(from, &cls, err);
	if (r == 0)
		r = make_qdisc(from, &q, err);
	if (r < 0)
		return r;
	r = rtnl_cls_delete(sk, cls, 0);
	if (r == 0 && !found.n_others)
		r = rtnl_qdisc_delete(sk, q);
	return r < 0 && r != -NLE_OBJ_NOTFOUND ? netcfg_nl_err(err, r, "take a redirection off")
					       : 0;
}
