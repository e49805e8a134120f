/* The count bigram as an external program in C99: p(j | i) = (count(i, j) + k) / (count(i) + k V).

     cc -O2 -o bigram plugins/examples/bigram.c -lm
     harness run --models 'c-bigram@exec:program=./bigram,k=1,context=1,count-bigram'

   It speaks the frames of docs/wire.md: it says hello, then answers one request after the other, until
   `bye` or the end of its input. It needs a little-endian machine: arrays are used as they come. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *why) { /* stderr is kept with the run; its last line becomes the reason */
    fprintf(stderr, "error: %s\n", why);
    exit(1);
}

static void *room(size_t bytes) {
    void *found = calloc(bytes ? bytes : 1, 1);
    if (found == NULL) stop("out of memory");
    return found;
}

/* ---- JSON, as much of it as a header needs: a walk over text that is known to be well formed */

static const char *blank(const char *at) {
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
    return at;
}

static const char *skip(const char *at) { /* past the value that begins here */
    int depth = 0;
    do {
        at = blank(at);
        if (*at == '"') {
            for (at++; *at != '"' && *at; at++) at += *at == '\\' && at[1];
            at += *at == '"';
        } else if (*at == '{' || *at == '[') {
            depth++, at++;
        } else if (*at == '}' || *at == ']') {
            depth--, at++;
        } else if (depth && (*at == ',' || *at == ':')) {
            at++;
        } else {
            at += strcspn(at, ",:]} \t\r\n");
        }
    } while (depth > 0 && *at);
    return blank(at);
}

static const char *member(const char *object, const char *key) { /* where a key's value begins, or NULL */
    const char *at = object ? blank(object) : "";
    if (*at++ != '{') return NULL;
    for (at = blank(at); *at == '"';) {
        const char *name = at + 1, *after = skip(at), *value = blank(after + 1); /* `after` is at the colon */
        if (strncmp(name, key, strlen(key)) == 0 && name[strlen(key)] == '"') return value;
        at = skip(value);
        if (*at == ',') at = blank(at + 1);
    }
    return NULL;
}

static int is(const char *value, const char *text) { /* whether a value is this string */
    size_t n = strlen(text);
    return value && *value == '"' && strncmp(value + 1, text, n) == 0 && value[n + 1] == '"';
}

static double number(const char *value, double otherwise) { return value ? strtod(value, NULL) : otherwise; }

/* ---- frames: "nch1", length of the header (4), length of the payload (8), header, payload */

static char *header;
static unsigned char *payload;
static uint64_t payload_size;

static int read_frame(void) { /* 0 at the end of the input */
    unsigned char head[16];
    size_t got = fread(head, 1, sizeof head, stdin);
    if (got == 0) return 0;
    if (got < sizeof head || memcmp(head, "nch1", 4) != 0) stop("what came is no frame");
    uint64_t lengths[2] = {0, 0};
    for (int i = 3; i >= 0; i--) lengths[0] = lengths[0] << 8 | head[4 + i];
    for (int i = 7; i >= 0; i--) lengths[1] = lengths[1] << 8 | head[8 + i];
    free(header), free(payload);
    header = room(lengths[0] + 1); /* and a closing 0 */
    payload = room(lengths[1]);
    payload_size = lengths[1];
    if (fread(header, 1, lengths[0], stdin) < lengths[0]) stop("the frame ends too soon");
    if (fread(payload, 1, payload_size, stdin) < payload_size) stop("the frame ends too soon");
    return 1;
}

static void write_frame(const char *text, const void *data, uint64_t size) {
    unsigned char head[16] = {'n', 'c', 'h', '1'};
    uint64_t length = strlen(text);
    for (int i = 0; i < 4; i++) head[4 + i] = (unsigned char)(length >> 8 * i);
    for (int i = 0; i < 8; i++) head[8 + i] = (unsigned char)(size >> 8 * i);
    fwrite(head, 1, sizeof head, stdout);
    fwrite(text, 1, length, stdout);
    if (size) fwrite(data, 1, size, stdout);
    if (fflush(stdout)) exit(0); /* the harness has gone */
}

typedef struct {
    const unsigned char *data;
    size_t item;        /* bytes of an element: the digit at the end of its dtype */
    uint64_t shape[2];  /* rows and columns; 1 where there are fewer axes */
} Array;

static Array array(const char *name) { /* one of the frame's arrays; they follow each other in the payload */
    const char *at = member(header, "arrays");
    const unsigned char *data = payload;
    if (at == NULL || *at != '[') stop("a frame without arrays");
    for (at = blank(at + 1); *at == '[';) { /* ["tokens","|u1",[3121]] */
        Array found = {data, 0, {1, 1}};
        const char *label = blank(at + 1), *dtype = blank(skip(label) + 1), *shape = blank(skip(dtype) + 1);
        found.item = (size_t)strtol(dtype + 3, NULL, 10);
        const char *axis = blank(shape + 1);
        uint64_t elements = 1;
        for (int i = 0; *axis && *axis != ']'; i++) {
            uint64_t n = strtoull(axis, NULL, 10);
            if (i < 2) found.shape[i] = n;
            elements *= n;
            axis = skip(axis);
            if (*axis == ',') axis = blank(axis + 1);
        }
        if (data + elements * found.item > payload + payload_size) stop("an array beyond its frame");
        if (is(label, name)) return found;
        data += elements * found.item;
        at = skip(at);
        if (*at == ',') at = blank(at + 1);
    }
    stop(name);
    return (Array){NULL, 0, {0, 0}};
}

static uint64_t token(Array a, uint64_t i) { /* tokens are whole numbers from 0 on, of 1 to 8 bytes */
    uint64_t found = 0;
    memcpy(&found, a.data + i * a.item, a.item);
    return found;
}

/* ---- the model: V x V counts, and the rows that follow from them */

static uint64_t v;      /* characters, the boundary included */
static double k;        /* added to every count */
static double *counts;  /* (V, V): how often the column follows the row */
static double *rows;    /* (V, V): natural-log probabilities */
static uint16_t *train; /* the training text: every document ends in 0, and the first begins after one */
static uint64_t length; /* of it */

static void keep(Array tokens) {
    length = tokens.shape[0];
    free(train);
    train = room(length * sizeof *train);
    for (uint64_t i = 0; i < length; i++) train[i] = (uint16_t)token(tokens, i);
}

static void make_rows(void) {
    for (uint64_t i = 0; i < v; i++) {
        double total = 0;
        for (uint64_t j = 0; j < v; j++) total += counts[i * v + j] + k;
        for (uint64_t j = 0; j < v; j++)
            rows[i * v + j] = log(total > 0 ? (counts[i * v + j] + k) / total : 1.0 / (double)v);
    }
}

static void fit(void) {
    memset(counts, 0, v * v * sizeof *counts);
    for (uint64_t i = 0; i + 1 < length; i++) counts[train[i] * v + train[i + 1]]++;
    make_rows();
}

static void answer_rows(int last) { /* inputs (B, T) -> rows (B, T, V), or (B, V) where `last` */
    Array inputs = array("inputs");
    uint64_t b = inputs.shape[0], t = inputs.shape[1], n = last ? b : b * t;
    double *found = room(n * v * sizeof *found);
    for (uint64_t i = 0; i < n; i++)
        memcpy(found + i * v, rows + v * token(inputs, last ? i * t + t - 1 : i), v * sizeof *found);
    char text[160], axis[32] = "";
    if (!last) snprintf(axis, sizeof axis, "%llu,", (unsigned long long)t);
    snprintf(text, sizeof text, "{\"ok\":true,\"arrays\":[[\"rows\",\"<f8\",[%llu,%s%llu]]]}",
             (unsigned long long)b, axis, (unsigned long long)v);
    write_frame(text, found, n * v * sizeof *found);
    free(found);
}

static void answer_params(void) {
    char text[160];
    snprintf(text, sizeof text, "{\"ok\":true,\"arrays\":[[\"counts\",\"<f8\",[%llu,%llu]]]}",
             (unsigned long long)v, (unsigned long long)v);
    write_frame(text, counts, v * v * sizeof *counts);
}

static void ok(void) { write_frame("{\"ok\":true}", NULL, 0); }

int main(void) {
    write_frame("{\"hello\":1}", NULL, 0);
    while (read_frame()) {
        const char *op = member(header, "op");
        if (is(op, "open")) {
            v = (uint64_t)number(member(header, "vocabulary"), 0);
            k = number(member(member(header, "config"), "k"), 1);
            counts = room(v * v * sizeof *counts);
            rows = room(v * v * sizeof *rows);
            ok();
        } else if (is(op, "data")) {
            if (is(member(header, "part"), "train")) keep(array("tokens"));
            ok();
        } else if (is(op, "new")) { /* a new instance knows nothing */
            memset(counts, 0, v * v * sizeof *counts);
            make_rows();
            ok();
        } else if (is(op, "fit")) {
            fit();
            ok();
        } else if (is(op, "log_probs")) {
            answer_rows(0);
        } else if (is(op, "next_log_probs")) {
            answer_rows(1);
        } else if (is(op, "params")) {
            answer_params();
        } else if (is(op, "load")) {
            memcpy(counts, array("counts").data, v * v * sizeof *counts);
            make_rows();
            ok();
        } else if (is(op, "bye")) {
            return 0;
        } else { /* warm_up and sample: the harness does without */
            write_frame("{\"error\":\"unsupported\"}", NULL, 0);
        }
    }
    return 0;
}
