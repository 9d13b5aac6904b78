/* keypress.c - a terminal that hands over each key at once */
#include "keypress.h"

#include <poll.h>
#include <stdbool.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool begun;

void keypress_begin(void)
{
    struct termios keys;

    if (begun || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before))
        return;
    keys = before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    begun = !tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
}

char keypress_wait(int ms)
{
    struct pollfd fd = {.fd = begun ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;

    if (poll(&fd, 1, ms) > 0 && read(STDIN_FILENO, &key, 1) != 1)
        keypress_end(); /* the terminal is gone */
    return key;
}

void keypress_end(void)
{
    if (begun)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    begun = false;
}
