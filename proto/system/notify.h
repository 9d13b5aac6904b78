/* notify.h - tells systemd that a service is ready (Type=notify), where it was asked to */
#ifndef FREEZELINE_NOTIFY_H
#define FREEZELINE_NOTIFY_H

/* Sends "READY=1" to the socket that NOTIFY_SOCKET names, once; nothing where there is none. Nobody needs the
 * answer more than the service manager does, so a socket that does not take it is passed over: systemd says
 * so itself. */
void notify_ready(void);

#endif
