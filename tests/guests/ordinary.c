/*
 * An ordinary C program: nothing in it knows of the network, the SDK or WebAssembly.
 *
 *     ordinary INPUT OUTPUT
 *
 * Prints, one per line: the number of arguments, the variable GREETING, the time in Unix seconds, the first line of
 * standard input, what INPUT holds, the root of two, and the names in the current directory after INPUT has been copied
 * to OUTPUT in capitals. Complains on standard error. Exits with the number of words in INPUT, 64 if called wrongly, 66
 * if INPUT cannot be read, 73 if OUTPUT cannot be written.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct counts {
    long lines, words, bytes;
};

static int copy_in_capitals(const char *from, const char *to, struct counts *counts)
{
    FILE *in = fopen(from, "rb");
    if (in == NULL) {
        fprintf(stderr, "ordinary: %s: %s\n", from, strerror(errno));
        return 66;
    }
    FILE *out = fopen(to, "wb");
    if (out == NULL) {
        fprintf(stderr, "ordinary: %s: %s\n", to, strerror(errno));
        fclose(in);
        return 73;
    }

    char chunk[16]; /* Small, so that reading takes several turns. */
    size_t length;
    int in_word = 0;
    while ((length = fread(chunk, 1, sizeof chunk, in)) > 0) {
        for (size_t i = 0; i < length; i++) {
            unsigned char c = (unsigned char)chunk[i];
            counts->bytes++;
            counts->lines += c == '\n';
            counts->words += !isspace(c) && !in_word;
            in_word = !isspace(c);
            chunk[i] = (char)toupper(c);
        }
        if (fwrite(chunk, 1, length, out) != length)
            break;
    }
    int failed = ferror(in) || ferror(out);
    fclose(in);
    return (fclose(out) != 0 || failed) ? 73 : 0;
}

static void list_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        printf("directory: %s\n", strerror(errno));
        return;
    }
    printf("directory:");
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        if (stat(entry->d_name, &status) == 0 && S_ISREG(status.st_mode))
            printf(" %s(%ld)", entry->d_name, (long)status.st_size);
        else
            printf(" %s/", entry->d_name);
    }
    printf("\n");
    closedir(directory);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s INPUT OUTPUT\n", argv[0]);
        return 64;
    }
    const char *greeting = getenv("GREETING");
    char line[256];
    if (fgets(line, sizeof line, stdin) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';

    struct counts counts = {0, 0, 0};
    int failed = copy_in_capitals(argv[1], argv[2], &counts);
    if (failed)
        return failed;

    double two = atof("2");
    printf("arguments: %d\n", argc);
    printf("greeting: %s\n", greeting ? greeting : "(none)");
    printf("time: %lld\n", (long long)time(NULL));
    printf("stdin: %s\n", line);
    printf("input: %ld lines, %ld words, %ld bytes\n", counts.lines, counts.words, counts.bytes);
    printf("root: %.17g\n", sqrt(two));
    list_directory(".");
    return (int)counts.words;
}
