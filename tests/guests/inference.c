/*
 * A C program that calls a model through wasi-nn, with nothing but the interface's own declarations.
 *
 *     inference < IMAGE        prints the digit that the model `digits` sees in 64 bytes, 0 (paper) to 16 (ink)
 *     inference codes          prints what every function returns for calls that are wrong
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("wasi_ephemeral_nn"), import_name(name)))

struct tensor {
    const uint32_t *dimensions;
    uint32_t rank;
    uint8_t type;
    const void *data;
    uint32_t length;
};

struct builder {
    const void *data;
    uint32_t length;
};

IMPORT("load") int32_t load(const struct builder *, uint32_t count, int32_t encoding, int32_t target, uint32_t *graph);
IMPORT("load_by_name") int32_t load_by_name(const char *, uint32_t length, uint32_t *graph);
IMPORT("init_execution_context") int32_t init_execution_context(uint32_t graph, uint32_t *context);
IMPORT("set_input") int32_t set_input(uint32_t context, uint32_t index, const struct tensor *);
IMPORT("compute") int32_t compute(uint32_t context);
IMPORT("get_output") int32_t get_output(uint32_t context, uint32_t index, void *, uint32_t size, uint32_t *length);

enum { F32 = 1, U8 = 3, ONNX = 1, CPU = 0, PIXELS = 64, DIGITS = 10 };

static const uint32_t dimensions[] = {1, 1, 8, 8};
static float pixels[PIXELS];
static float scores[DIGITS];

static int recognise(uint32_t context)
{
    unsigned char image[PIXELS];
    if (fread(image, 1, PIXELS, stdin) != PIXELS)
        return 65;
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = (float)image[i] / 16.0f;
    const struct tensor input = {dimensions, 4, F32, pixels, sizeof pixels};
    uint32_t length = 0;
    if (set_input(context, 0, &input) != 0 || compute(context) != 0
        || get_output(context, 0, scores, sizeof scores, &length) != 0 || length != sizeof scores)
        return 70;
    int best = 0;
    for (int digit = 1; digit < DIGITS; digit++)
        if (scores[digit] > scores[best])
            best = digit;
    printf("%d\n", best);
    return 0;
}

static void codes(uint32_t graph, uint32_t context)
{
    /* Behind the end of memory, which is smaller. */
    void *nowhere = (void *)0xfffffff0;
    uint32_t handle, length;
    const struct builder builder = {pixels, sizeof pixels};
    const struct tensor good = {dimensions, 4, F32, pixels, sizeof pixels};
    const uint32_t other[] = {1, 1, 8, 9}, many[64] = {1};
    const struct tensor unlike = {other, 4, F32, pixels, sizeof pixels};
    const struct tensor cut = {dimensions, 4, F32, pixels, sizeof pixels - 1};
    const struct tensor bytes = {dimensions, 4, U8, pixels, PIXELS};
    const struct tensor unknown = {dimensions, 4, 99, pixels, sizeof pixels};
    const struct tensor deep = {many, 64, F32, pixels, sizeof pixels};
    const struct tensor outside = {dimensions, 4, F32, nowhere, sizeof pixels};

    printf("load: %d\n", load(&builder, 1, ONNX, CPU, &handle));
    printf("load_by_name absent: %d\n", load_by_name("absent", 6, &handle));
    printf("load_by_name outside: %d\n", load_by_name(nowhere, 100, &handle));
    printf("init_execution_context of no graph: %d\n", init_execution_context(graph + 1, &handle));
    printf("init_execution_context outside: %d\n", init_execution_context(graph, nowhere));
    printf("compute without inputs: %d\n", compute(context));
    printf("get_output before: %d\n", get_output(context, 0, scores, sizeof scores, &length));
    printf("set_input of no context: %d\n", set_input(context + 1, 0, &good));
    printf("set_input of no index: %d\n", set_input(context, 1, &good));
    printf("set_input of no type: %d\n", set_input(context, 0, &unknown));
    printf("set_input too deep: %d\n", set_input(context, 0, &deep));
    printf("set_input too short: %d\n", set_input(context, 0, &cut));
    printf("set_input outside: %d\n", set_input(context, 0, &outside));
    int set = set_input(context, 0, &unlike);
    printf("another shape: %d\n", set != 0 ? set : compute(context));
    set = set_input(context, 0, &bytes);
    printf("another type: %d\n", set != 0 ? set : compute(context));
    printf("set_input: %d\n", set_input(context, 0, &good));
    printf("compute of no context: %d\n", compute(context + 1));
    printf("compute: %d\n", compute(context));
    printf("get_output of no index: %d\n", get_output(context, 1, scores, sizeof scores, &length));
    printf("get_output too small: %d\n", get_output(context, 0, scores, sizeof scores - 1, &length));
    printf("get_output outside: %d\n", get_output(context, 0, nowhere, sizeof scores, &length));
    printf("get_output: %d\n", get_output(context, 0, scores, sizeof scores, &length));
}

int main(int count, char **arguments)
{
    uint32_t graph, context;
    if (load_by_name("digits", 6, &graph) != 0 || init_execution_context(graph, &context) != 0)
        return 69;
    if (count == 2 && strcmp(arguments[1], "codes") == 0) {
        codes(graph, context);
        return 0;
    }
    return recognise(context);
}
