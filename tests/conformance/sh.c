/* The shell of the test images: busybox', unless a variable has a name that is none for a shell (`data-1`). Debian's version of
   busybox would not hand that on to the programs that it starts, as upstream's does; bash does. */
#include <ctype.h>
#include <unistd.h>

extern char **environ;

static int is_name(const char *variable) {
    if (isdigit((unsigned char)*variable)) return 0;
    while (isalnum((unsigned char)*variable) || *variable == '_') variable++;
    return *variable == '=';
}

int main(int count, char **arguments) {
    const char *shell = "/bin/busybox";
    (void)count;
    for (char **variable = environ; *variable; variable++)
        if (!is_name(*variable)) shell = "/bin/bash";
    execv(shell, arguments);
    return 127;
}
