from django.urls import path

from . import api, views

urlpatterns = [
    path("", views.dashboard, name="dashboard"),
    path("records/", views.add_record, name="add_record"),
    path("upload/", views.upload, name="upload"),
    path("upload/<uuid:pk>/", views.download, name="download"),
    path("tasks/", views.tasks, name="tasks"),
    path("replica/", views.replica, name="replica"),
    path("events/", views.events_page, name="events"),
    path("events/stream/", views.event_stream, name="event_stream"),
    path("api/me/", api.me, name="api_me"),
    path("api/records/", api.records, name="api_records"),
    path("api/records/<int:pk>/", api.record, name="api_record"),
    path("api/tasks/", api.tasks, name="api_tasks"),
    path("api/tasks/<uuid:pk>/", api.task, name="api_task"),
]
