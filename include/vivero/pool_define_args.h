/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_POOL_DEFINE_ARGS_H
#define VIVERO_POOL_DEFINE_ARGS_H

/* The list machinery behind <vivero/pool_define.h>, and nothing else: an
 * operation is written `name, (type, name), (type, name), ...`, with nought to
 * eight pairs. A type must be one that stands before a name: `const char *` is
 * one, a function pointer needs a typedef.
 *
 * VIVERO_ARGS_COUNT(name, pairs...)   how many pairs: 0 to 8
 * VIVERO_ARGS_NAME(name, pairs...)    name
 * VIVERO_ARGS_FIELDS(name, pairs...)  `type a; type b;`
 * VIVERO_ARGS_PARAMS(name, pairs...)  `, type a, type b`
 * VIVERO_ARGS_VALUES(name, pairs...)  `a, b`, or 0
 * VIVERO_ARGS_PASS(name, pairs...)    `, a, b`
 * VIVERO_ARGS_UNPACK(name, pairs...)  `, vivero_args->a, ...->b`
 * VIVERO_ARGS_SIZE(name, struct_, pairs...)  bytes of the argument struct
 * VIVERO_ARGS_KEY(name, struct_, pairs...)   bytes of the first argument */

#define VIVERO_JOIN_(a_, b_) a_##b_
#define VIVERO_JOIN(a_, b_) VIVERO_JOIN_(a_, b_)

#define VIVERO_PICK_11_(a1_, a2_, a3_, a4_, a5_, a6_, a7_, a8_, a9_, a10_, \
                        picked_, ...)                                      \
    picked_
#define VIVERO_ARGS_COUNT(...) \
    VIVERO_PICK_11_(__VA_ARGS__, TOO_MANY, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)

#define VIVERO_HEAD_(head_, ...) head_
#define VIVERO_ARGS_NAME(...) VIVERO_HEAD_(__VA_ARGS__, ~)

/* What one pair becomes. */
#define VIVERO_FIELD_(type_, name_) type_ name_;
#define VIVERO_PARAM_(type_, name_) , type_ name_
#define VIVERO_PASS_(type_, name_) , name_
#define VIVERO_UNPACK_(type_, name_) , vivero_args->name_
#define VIVERO_VALUE_(type_, name_) name_
#define VIVERO_TYPE_SIZE_(type_, name_) sizeof(type_)

/* each_ pair_ ...: nine operations on the ninth argument are a clear error:
 * "VIVERO_EACH_TOO_MANY" is not defined. */
#define VIVERO_EACH_0(each_, n_)
#define VIVERO_EACH_1(each_, n_, p1_) each_ p1_
#define VIVERO_EACH_2(each_, n_, p1_, p2_) each_ p1_ each_ p2_
#define VIVERO_EACH_3(each_, n_, p1_, p2_, p3_) each_ p1_ each_ p2_ each_ p3_
#define VIVERO_EACH_4(each_, n_, p1_, p2_, p3_, p4_) \
    each_ p1_ each_ p2_ each_ p3_ each_ p4_
#define VIVERO_EACH_5(each_, n_, p1_, p2_, p3_, p4_, p5_) \
    each_ p1_ each_ p2_ each_ p3_ each_ p4_ each_ p5_
#define VIVERO_EACH_6(each_, n_, p1_, p2_, p3_, p4_, p5_, p6_) \
    each_ p1_ each_ p2_ each_ p3_ each_ p4_ each_ p5_ each_ p6_
#define VIVERO_EACH_7(each_, n_, p1_, p2_, p3_, p4_, p5_, p6_, p7_) \
    each_ p1_ each_ p2_ each_ p3_ each_ p4_ each_ p5_ each_ p6_ each_ p7_
#define VIVERO_EACH_8(each_, n_, p1_, p2_, p3_, p4_, p5_, p6_, p7_, p8_)  \
    each_ p1_ each_ p2_ each_ p3_ each_ p4_ each_ p5_ each_ p6_ each_ p7_ \
        each_ p8_
#define VIVERO_EACH(each_, ...)                                      \
    VIVERO_JOIN(VIVERO_EACH_, VIVERO_ARGS_COUNT(__VA_ARGS__))        \
    (each_, __VA_ARGS__)

#define VIVERO_ARGS_PARAMS(...) VIVERO_EACH(VIVERO_PARAM_, __VA_ARGS__)
#define VIVERO_ARGS_PASS(...) VIVERO_EACH(VIVERO_PASS_, __VA_ARGS__)
#define VIVERO_ARGS_UNPACK(...) VIVERO_EACH(VIVERO_UNPACK_, __VA_ARGS__)

/* No pair at all is the one case that C cannot write with the same tokens: a
 * struct has at least one member. */
#define VIVERO_NONE_OR_SOME_0 NONE
#define VIVERO_NONE_OR_SOME_1 SOME
#define VIVERO_NONE_OR_SOME_2 SOME
#define VIVERO_NONE_OR_SOME_3 SOME
#define VIVERO_NONE_OR_SOME_4 SOME
#define VIVERO_NONE_OR_SOME_5 SOME
#define VIVERO_NONE_OR_SOME_6 SOME
#define VIVERO_NONE_OR_SOME_7 SOME
#define VIVERO_NONE_OR_SOME_8 SOME
#define VIVERO_NONE_OR_SOME_TOO_MANY \
    an_operation_takes_at_most_eight_arguments
#define VIVERO_BY_ARGS(prefix_, ...) \
    VIVERO_JOIN(prefix_,             \
                VIVERO_JOIN(VIVERO_NONE_OR_SOME_, \
                            VIVERO_ARGS_COUNT(__VA_ARGS__)))

#define VIVERO_FIELDS_NONE(...) char vivero_nothing;
#define VIVERO_FIELDS_SOME(...) VIVERO_EACH(VIVERO_FIELD_, __VA_ARGS__)
#define VIVERO_ARGS_FIELDS(...) \
    VIVERO_BY_ARGS(VIVERO_FIELDS_, __VA_ARGS__)(__VA_ARGS__)

#define VIVERO_VALUES_NONE(...) 0
#define VIVERO_VALUES_SOME(name_, ...) VIVERO_VALUES_HEAD_(__VA_ARGS__, ~) \
    VIVERO_EACH(VIVERO_PASS_, __VA_ARGS__)
#define VIVERO_VALUES_HEAD_(p1_, ...) VIVERO_VALUE_ p1_
#define VIVERO_ARGS_VALUES(...) \
    VIVERO_BY_ARGS(VIVERO_VALUES_, __VA_ARGS__)(__VA_ARGS__)

#define VIVERO_SIZE_NONE(struct_) 0
#define VIVERO_SIZE_SOME(struct_) (uint32_t)sizeof(struct_)
#define VIVERO_ARGS_SIZE(struct_, ...) \
    VIVERO_BY_ARGS(VIVERO_SIZE_, __VA_ARGS__)(struct_)

#define VIVERO_KEY_NONE(...) 0
#define VIVERO_KEY_SOME(name_, ...) \
    (uint32_t)(VIVERO_KEY_HEAD_(__VA_ARGS__, ~))
#define VIVERO_KEY_HEAD_(p1_, ...) VIVERO_TYPE_SIZE_ p1_
#define VIVERO_ARGS_KEY(...) \
    VIVERO_BY_ARGS(VIVERO_KEY_, __VA_ARGS__)(__VA_ARGS__)

#endif
